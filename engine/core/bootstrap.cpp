// SPDX-License-Identifier: Apache-2.0
// Means and ratios with their uncertainty.
#include "engine/core/bootstrap.h"

#include <numeric>

#include "engine/core/error.h"
#include "engine/core/rng.h"
#include "engine/core/statistics.h"

namespace kernelites {
namespace {

double mean(const std::vector<double>& samples) {
  return std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
}

double resampled_mean(const std::vector<double>& samples, Rng& rng) {
  double sum = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) sum += samples[rng.below(samples.size())];
  return sum / static_cast<double>(samples.size());
}

void set_bounds(Interval& interval, const std::vector<double>& draws) {
  const double tail = (1 - k_interval_confidence) / 2;
  interval.low = quantile(draws, tail);
  interval.high = quantile(draws, 1 - tail);
}

}  // namespace

Interval bootstrap_mean(const std::vector<double>& samples, std::uint64_t seed) {
  KERNELITES_ASSERT(!samples.empty());
  Interval interval{.value = mean(samples), .low = {}, .high = {}};
  if (samples.size() < 2) return interval;
  Rng rng(seed);
  std::vector<double> draws(k_resamples);
  for (double& draw : draws) draw = resampled_mean(samples, rng);
  set_bounds(interval, draws);
  return interval;
}

Interval bootstrap_ratio_of_means(const std::vector<double>& over, const std::vector<double>& under,
                                  std::uint64_t seed) {
  KERNELITES_ASSERT(!over.empty() && !under.empty());
  Interval interval{.value = mean(over) / mean(under), .low = {}, .high = {}};
  if (over.size() < 2 || under.size() < 2) return interval;
  Rng rng(seed);
  std::vector<double> draws(k_resamples);
  for (double& draw : draws) {
    const double above = resampled_mean(over, rng);
    draw = above / resampled_mean(under, rng);
  }
  set_bounds(interval, draws);
  return interval;
}

Interval bootstrap_ratio_of_medians(const std::vector<double>& over, const std::vector<double>& under,
                                    std::uint64_t seed) {
  KERNELITES_ASSERT(!over.empty() && over.size() == under.size());
  Interval interval{.value = median(over) / median(under), .low = {}, .high = {}};
  if (over.size() < 2) return interval;
  Rng rng(seed);
  std::vector<double> draws(k_resamples), above(over.size()), below(under.size());
  for (double& draw : draws) {
    for (std::size_t i = 0; i < over.size(); ++i) {
      const std::size_t round = rng.below(over.size());
      above[i] = over[round];
      below[i] = under[round];
    }
    draw = median(above) / median(below);
  }
  set_bounds(interval, draws);
  return interval;
}

}  // namespace kernelites
