// SPDX-License-Identifier: Apache-2.0
// Order statistics and the bootstrap.
#include "evaluators/worker/pipeline/statistics.h"

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"
#include "engine/core/rng.h"

namespace kernelites::worker {
namespace {

constexpr int k_resamples = 2000;

}  // namespace

double quantile(std::vector<double> samples, double q) {
  KERNELITES_ASSERT(!samples.empty());
  std::sort(samples.begin(), samples.end());
  const double place = q * static_cast<double>(samples.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, samples.size() - 1);
  const double fraction = place - static_cast<double>(below);
  return samples[below] * (1 - fraction) + samples[above] * fraction;
}

double median(std::vector<double> samples) { return quantile(std::move(samples), 0.5); }

ArmTiming summarise(const std::vector<double>& time_us, bool is_modelled) {
  return {.time_us_median = median(time_us),
          .time_us_p10 = quantile(time_us, 0.1),
          .time_us_p90 = quantile(time_us, 0.9),
          .samples = static_cast<int>(time_us.size()),
          .is_modelled = is_modelled};
}

PairedRatio paired_ratio(const std::vector<double>& candidate_us, const std::vector<double>& arm_us,
                         double confidence, std::uint64_t seed) {
  KERNELITES_ASSERT(candidate_us.size() == arm_us.size() && !arm_us.empty());
  std::vector<double> logs;
  for (std::size_t i = 0; i < arm_us.size(); ++i) logs.push_back(std::log(candidate_us[i] / arm_us[i]));
  Rng rng(seed);
  std::vector<double> medians, resample(logs.size());
  for (int i = 0; i < k_resamples; ++i) {
    for (double& value : resample) value = logs[rng.below(logs.size())];
    medians.push_back(median(resample));
  }
  return {.log_ratio_median = median(logs),
          .log_ratio_low = quantile(medians, (1 - confidence) / 2),
          .log_ratio_high = quantile(medians, (1 + confidence) / 2),
          .confidence = confidence,
          .rounds = static_cast<int>(logs.size())};
}

}  // namespace kernelites::worker
