// SPDX-License-Identifier: Apache-2.0
// Means over runs, and ratios of medians over rounds, with their uncertainty: percentile bootstrap (Efron and
// Tibshirani 1993, chapter 13).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace kernelites {

/// A mean, or a ratio of two figures, and the interval that holds it. Of fewer than two samples on a side there is
/// none.
struct Interval {
  double value = 0;
  std::optional<double> low, high;
  bool operator==(const Interval&) const = default;
};

inline constexpr double k_interval_confidence = 0.95;
inline constexpr int k_resamples = 10'000;

/// The mean of `samples`. The same samples and seed give the same interval. REQUIRES: samples is not empty.
Interval bootstrap_mean(const std::vector<double>& samples, std::uint64_t seed = 1);
/// The mean of `over` divided by that of `under`, both resampled. REQUIRES: neither is empty.
Interval bootstrap_ratio_of_means(const std::vector<double>& over, const std::vector<double>& under,
                                  std::uint64_t seed = 1);
/// The median of `over` divided by that of `under`; rounds are resampled, with both times of each. Wild rounds do not
/// move it while they are fewer than half. REQUIRES: equally many of both, at least one.
Interval bootstrap_ratio_of_medians(const std::vector<double>& over, const std::vector<double>& under,
                                    std::uint64_t seed = 1);

}  // namespace kernelites
