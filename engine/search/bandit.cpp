// SPDX-License-Identifier: Apache-2.0
// Faded sums, gamma posteriors, and draws from them.
#include "engine/search/bandit.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/core/error.h"

namespace kernelites {
namespace {

/// Ordinals that fade together: what is added late to an epoch is counted as if it had come in time.
constexpr std::uint64_t k_epoch = 8;
/// Beyond so many half lives (a thousandth) results are dropped.
constexpr double k_half_lives_max = 10;
/// Weight of what all arms say in what is believed of one: as much as so many of its mean gains.
constexpr double k_prior_gains = 1;
constexpr int k_share_draws = 4000;
constexpr int k_redraws_max = 64;

double normal(Rng& rng) {
  const double radius = std::sqrt(-2 * std::log(1 - rng.uniform()));
  return radius * std::cos(2 * std::numbers::pi * rng.uniform());
}

/// Marsaglia and Tsang, ACM TOMS 26 (2000), for shape >= 1; unit rate. Each round is accepted at over 95 %.
double gamma(double shape, Rng& rng) {
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (int round = 0; round < k_redraws_max; ++round) {
    const double x = normal(rng), v = std::pow(1 + c * x, 3);
    if (v > 0 && std::log(1 - rng.uniform()) < x * x / 2 + d - d * v + d * std::log(v)) return d * v;
  }
  return shape;
}

double weight_max(std::span<const ArmWeight> arms) {
  double most = 0;
  for (const ArmWeight& one : arms) most = std::max(most, one.weight);
  return most;
}

}  // namespace

std::vector<double> weight_shares(std::span<const ArmWeight> arms) {
  double sum = 0;
  for (const ArmWeight& one : arms) sum += one.weight;
  std::vector<double> shares;
  for (const ArmWeight& one : arms) shares.push_back(sum > 0 ? one.weight / sum : 0);
  return shares;
}

void Bandit::add(const Arm& arm, std::uint64_t ordinal, const ArmSums& sums) {
  Record& record = records_[arm];
  record.total += sums;
  const std::uint64_t epoch = ordinal / k_epoch;
  record.epochs[epoch] += sums;
  newest_epoch_ = std::max(newest_epoch_, epoch);
  const auto kept = static_cast<std::uint64_t>(k_half_lives_max * settings_.half_life / k_epoch) + 1;
  if (newest_epoch_ > kept)
    record.epochs.erase(record.epochs.begin(), record.epochs.lower_bound(newest_epoch_ - kept));
}

Bandit::Faded Bandit::faded(const Record& record) const {
  Faded sum;
  for (const auto& [epoch, sums] : record.epochs) {
    const double half_lives = static_cast<double>(k_epoch * (newest_epoch_ - epoch)) / settings_.half_life;
    if (half_lives > k_half_lives_max) continue;  // not dropped yet
    const double weight = std::exp2(-half_lives);
    sum.elites += weight * static_cast<double>(sums.elites);
    sum.gain += weight * 1e-6 * static_cast<double>(sums.gain_ubits);
    sum.cost += weight * (1e-6 * static_cast<double>(sums.cost_uusd) +
                          settings_.usd_per_variation * static_cast<double>(sums.variations));
  }
  return sum;
}

std::vector<Bandit::Posterior> Bandit::posteriors(std::span<const ArmWeight> arms) const {
  std::vector<Faded> sums;
  Faded all;
  for (const ArmWeight& one : arms) {
    const auto found = records_.find(one.arm);
    sums.push_back(found == records_.end() ? Faded{} : faded(found->second));
    all.elites += sums.back().elites;
    all.gain += sums.back().gain;
    all.cost += sums.back().cost;
  }
  // Before anything was gained every rate is as good as another; what was spent in vain counts all the same.
  const double gain_mean = all.gain > 0 && all.elites > 0 ? all.gain / all.elites : 1;
  const double rate_prior = all.cost > 0 ? (all.gain / gain_mean + k_prior_gains) / all.cost : 1;
  std::vector<Posterior> posteriors;
  for (const Faded& sum : sums)
    posteriors.push_back({k_prior_gains + sum.gain / gain_mean, k_prior_gains / rate_prior + sum.cost});
  return posteriors;
}

std::size_t Bandit::draw(std::span<const ArmWeight> arms, Rng& rng) const {
  return draw(arms, posteriors(arms), rng);
}

std::vector<double> Bandit::shares(std::span<const ArmWeight> arms) const {
  if (weight_max(arms) <= 0 || !settings_.is_on) return weight_shares(arms);
  const std::vector<Posterior> believed = posteriors(arms);
  std::vector<double> shares(arms.size());
  Rng rng(1);
  for (int i = 0; i < k_share_draws; ++i) shares[draw(arms, believed, rng)] += 1.0 / k_share_draws;
  return shares;
}

std::size_t Bandit::draw(std::span<const ArmWeight> arms, const std::vector<Posterior>& believed,
                         Rng& rng) const {
  const double most = weight_max(arms);
  KERNELITES_ASSERT(most > 0);
  const auto by_weight = [&] { return rng.weighted(weight_shares(arms)); };
  if (!settings_.is_on || rng.uniform() < settings_.floor) return by_weight();
  // A winner is taken with a chance in proportion to its weight: shares are (chance to be best) x (weight).
  for (int redraw = 0; redraw < k_redraws_max; ++redraw) {
    std::size_t best = 0;
    double best_rate = -1;
    for (std::size_t i = 0; i < arms.size(); ++i) {
      if (arms[i].weight <= 0) continue;
      const double rate = gamma(believed[i].shape, rng) / believed[i].rate;
      if (rate > best_rate) best = i, best_rate = rate;
    }
    if (rng.uniform() * most < arms[best].weight) return best;
  }
  return by_weight();
}

double Bandit::recent_gain(const Arm& arm) const {
  const auto found = records_.find(arm);
  if (found == records_.end()) return 0;
  const Faded sum = faded(found->second);
  return sum.cost > 0 ? sum.gain / sum.cost : 0;
}

std::map<Arm, ArmSums> Bandit::totals() const {
  std::map<Arm, ArmSums> totals;
  for (const auto& [arm, record] : records_) totals[arm] = record.total;
  return totals;
}

}  // namespace kernelites
