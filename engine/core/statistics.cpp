// SPDX-License-Identifier: Apache-2.0
// Order statistics by sorting.
#include "engine/core/statistics.h"

#include <algorithm>

#include "engine/core/error.h"

namespace kernelites {

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

double interquartile_mean(std::vector<double> samples) {
  KERNELITES_ASSERT(!samples.empty());
  std::sort(samples.begin(), samples.end());
  const std::size_t cut = samples.size() / 4;
  double sum = 0;
  for (std::size_t i = cut; i < samples.size() - cut; ++i) sum += samples[i];
  return sum / static_cast<double>(samples.size() - 2 * cut);
}

ArmTiming summarise(const std::vector<double>& time_us, bool is_modelled) {
  return {.time_us_median = median(time_us),
          .time_us_p10 = quantile(time_us, 0.1),
          .time_us_p90 = quantile(time_us, 0.9),
          .samples = static_cast<int>(time_us.size()),
          .is_modelled = is_modelled};
}

}  // namespace kernelites
