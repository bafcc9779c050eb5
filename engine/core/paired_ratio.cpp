// SPDX-License-Identifier: Apache-2.0
// Hodges-Lehmann estimates and signed-rank intervals.
#include "engine/core/paired_ratio.h"

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"

namespace kernelites {
namespace {

/// Up to here the signed-rank distribution is computed, beyond it is normal to four digits in the tails that matter.
constexpr int k_exact_rounds_max = 60;
constexpr int k_first_look = 30;
/// So many times as long as the other one. An arm may be the baseline, whose ratio is wanted to a per cent as long as
/// it is one that a candidate is compared with in earnest.
constexpr double k_hopeless_candidate = 1.5, k_hopeless_arm = 4;

/// P(W <= w) for w = 0, 1, ...: W is the sum of the ranks of the positive ones among n symmetric differences. Counts
/// subsets of {1, ..., n} by their sum.
std::vector<double> signed_rank_distribution(int n) {
  const int sum_max = n * (n + 1) / 2;
  std::vector<double> ways(static_cast<std::size_t>(sum_max) + 1, 0.0);
  ways[0] = std::ldexp(1.0, -n);
  for (int rank = 1; rank <= n; ++rank) {
    for (int sum = sum_max; sum >= rank; --sum)
      ways[static_cast<std::size_t>(sum)] += ways[static_cast<std::size_t>(sum - rank)];
  }
  for (std::size_t i = 1; i < ways.size(); ++i) ways[i] += ways[i - 1];
  return ways;
}

/// Inverse of the normal distribution's upper tail by bisection; 60 halvings of [0, 40].
double normal_quantile(double tail) {
  double low = 0, high = 40;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(middle / std::sqrt(2.0)) / 2 > tail ? low : high) = middle;
  }
  return low;
}

struct Cut {
  int averages = 0;       ///< so many pairwise means lie outside on either side
  double confidence = 0;  ///< of what is left
};

/// The largest cut whose interval still has the confidence.
Cut cut_for(int n, double confidence) {
  const double tail = (1 - confidence) / 2;
  if (n > k_exact_rounds_max) {
    const double size = n, mean = size * (size + 1) / 4;
    const double deviation = std::sqrt(size * (size + 1) * (2 * size + 1) / 24);
    return {std::max(0, static_cast<int>(std::floor(mean - normal_quantile(tail) * deviation - 0.5))),
            confidence};
  }
  const std::vector<double> distribution = signed_rank_distribution(n);
  if (distribution[0] > tail) return {0, 1 - 2 * distribution[0]};
  int cut = 0;
  while (distribution[static_cast<std::size_t>(cut) + 1] <= tail) ++cut;
  return {cut, confidence};
}

}  // namespace

PairedRatio paired_ratio(std::span<const double> candidate_us, std::span<const double> arm_us,
                         double confidence) {
  KERNELITES_ASSERT(candidate_us.size() == arm_us.size() && !arm_us.empty());
  std::vector<double> averages;
  const std::size_t n = arm_us.size();
  averages.reserve(n * (n + 1) / 2);
  std::vector<double> logs;
  for (std::size_t i = 0; i < n; ++i) logs.push_back(std::log(candidate_us[i] / arm_us[i]));
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = i; j < n; ++j) averages.push_back((logs[i] + logs[j]) / 2);
  std::sort(averages.begin(), averages.end());
  const Cut cut = cut_for(static_cast<int>(n), confidence);
  const auto outside = std::min(static_cast<std::size_t>(cut.averages), (averages.size() - 1) / 2);
  const std::size_t middle = averages.size() / 2;
  return {.log_ratio_median =
              averages.size() % 2 == 1 ? averages[middle] : (averages[middle - 1] + averages[middle]) / 2,
          .log_ratio_low = averages[outside],
          .log_ratio_high = averages[averages.size() - 1 - outside],
          .confidence = cut.confidence,
          .rounds = static_cast<int>(n)};
}

PairedRatio exact_ratio(double candidate_us, double arm_us, double confidence) {
  const double ratio = std::log(candidate_us / arm_us);
  return {.log_ratio_median = ratio,
          .log_ratio_low = ratio,
          .log_ratio_high = ratio,
          .confidence = confidence,
          .rounds = 1};
}

LookPlan::LookPlan(int rounds_max, double confidence) : confidence_(confidence) {
  KERNELITES_ASSERT(rounds_max >= 1);
  for (int look = k_first_look; look < rounds_max; look *= 2) looks_.push_back(look);
  looks_.push_back(rounds_max);
  // So many rounds, all on one side, are needed for an interval of that confidence.
  const int least = 1 + static_cast<int>(std::ceil(-std::log2(1 - hopeless_confidence())));
  if (least < looks_.front()) hopeless_look_ = least;
  const double error = (1 - confidence) * (hopeless_look_ > 0 ? 1 - k_hopeless_error : 1);
  look_confidence_ = 1 - error / static_cast<double>(looks_.size());
}

bool LookPlan::is_look(int rounds_done) const {
  return std::find(looks_.begin(), looks_.end(), rounds_done) != looks_.end();
}

bool is_decided(const PairedRatio& ratio, double effect) {
  const double gain = std::log1p(-effect);
  return ratio.log_ratio_high < gain || ratio.log_ratio_low > gain;
}

bool is_candidate_hopeless(const PairedRatio& ratio) {
  return ratio.log_ratio_low > std::log(k_hopeless_candidate);
}

bool is_arm_hopeless(const PairedRatio& ratio) { return ratio.log_ratio_high < -std::log(k_hopeless_arm); }

}  // namespace kernelites
