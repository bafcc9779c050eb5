// SPDX-License-Identifier: Apache-2.0
// Sequential halving: many arms are timed with few rounds, the better half of them again with twice as many, and so on.
#include "engine/variation/halving.h"

#include <algorithm>
#include <numeric>

#include "engine/core/error.h"

namespace kernelites {

Halving::Halving(std::size_t count, int rounds_max, int rounds_min)
    : sums_(count), live_(count), rounds_max_(rounds_max), rounds_min_(rounds_min) {
  KERNELITES_ASSERT(count > 0 && rounds_max > 0);
  std::iota(live_.begin(), live_.end(), std::size_t{0});
  // As many heats as halve the arms to two: a last one compares the best two.
  heats_left_ = 1;
  for (std::size_t left = count; left > 2; left = (left + 1) / 2) ++heats_left_;
}

std::optional<Heat> Halving::next() const {
  if (heats_left_ == 0 || live_.empty()) return std::nullopt;
  int rounds = rounds_max_;
  for (int heat = 1; heat < heats_left_; ++heat) rounds /= 2;
  return Heat{live_, std::min(rounds_max_, std::max(rounds, rounds_min_))};
}

void Halving::tell(const std::map<std::size_t, std::map<std::string, double>>& log_speedups) {
  const auto heat = next();
  KERNELITES_ASSERT(heat.has_value());
  std::erase_if(live_, [&](std::size_t arm) {
    const auto told = log_speedups.find(arm);
    return told == log_speedups.end() || told->second.empty();
  });
  for (const std::size_t arm : live_)
    for (const auto& [workload, value] : log_speedups.at(arm)) {
      Sum& sum = sums_[arm][workload];
      sum.sum += value * heat->rounds;
      sum.rounds += heat->rounds;
    }
  std::stable_sort(live_.begin(), live_.end(),
                   [&](std::size_t a, std::size_t b) { return mean_of(a) > mean_of(b); });
  --heats_left_;
  if (heats_left_ == 0 || live_.empty()) return;

  std::vector<std::size_t> kept(live_.begin(),
                                live_.begin() + static_cast<std::ptrdiff_t>((live_.size() + 1) / 2));
  for (const auto& [workload, sum] : sums_[live_.front()]) {
    const auto at = [&, &name = workload](std::size_t arm) { return this->log_speedups(arm)[name]; };
    const std::size_t fastest = *std::max_element(
        live_.begin(), live_.end(), [&](std::size_t a, std::size_t b) { return at(a) < at(b); });
    if (std::find(kept.begin(), kept.end(), fastest) == kept.end()) kept.push_back(fastest);
  }
  live_ = std::move(kept);
}

std::map<std::string, double> Halving::log_speedups(std::size_t arm) const {
  std::map<std::string, double> values;
  for (const auto& [workload, sum] : sums_.at(arm))
    if (sum.rounds > 0) values[workload] = sum.sum / sum.rounds;
  return values;
}

double Halving::mean_of(std::size_t arm) const {
  double sum = 0;
  const auto values = log_speedups(arm);
  for (const auto& [workload, value] : values) sum += value;
  return values.empty() ? -1e9 : sum / static_cast<double>(values.size());
}

}  // namespace kernelites
