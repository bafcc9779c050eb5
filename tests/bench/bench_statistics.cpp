// SPDX-License-Identifier: Apache-2.0
// Bootstrap intervals of medians and of their ratios, and runs in threads.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "engine/core/error.h"
#include "engine/core/rng.h"
#include "engine/core/statistics.h"
#include "tests/bench/search_experiments.h"

namespace kernelites {
namespace {

constexpr int k_resamples = 2000;

std::vector<double> resampled(const std::vector<double>& samples, Rng& rng) {
  std::vector<double> drawn(samples.size());
  for (double& value : drawn) value = samples[rng.below(samples.size())];
  return drawn;
}

double mean_log_ratio(const std::vector<std::vector<double>>& a, const std::vector<std::vector<double>>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::log(median(a[i]) / median(b[i]));
  return sum / static_cast<double>(a.size());
}

}  // namespace

Estimate bootstrap_median(const std::vector<double>& samples) {
  Rng rng = Rng::keyed(1, samples.size(), "bootstrap");
  std::vector<double> medians;
  for (int i = 0; i < k_resamples; ++i) medians.push_back(median(resampled(samples, rng)));
  return {median(samples), quantile(medians, 0.025), quantile(medians, 0.975)};
}

Estimate bootstrap_ratio(const std::vector<std::vector<double>>& a,
                         const std::vector<std::vector<double>>& b) {
  KERNELITES_ASSERT(a.size() == b.size() && !a.empty());
  Rng rng = Rng::keyed(1, a.size(), "bootstrap");
  std::vector<double> ratios;
  for (int i = 0; i < k_resamples; ++i) {
    std::vector<std::vector<double>> of_a, of_b;
    for (const std::vector<double>& samples : a) of_a.push_back(resampled(samples, rng));
    for (const std::vector<double>& samples : b) of_b.push_back(resampled(samples, rng));
    ratios.push_back(std::exp(mean_log_ratio(of_a, of_b)));
  }
  return {std::exp(mean_log_ratio(a, b)), quantile(ratios, 0.025), quantile(ratios, 0.975)};
}

void for_each_run(const BenchOptions& options, std::size_t count,
                  const std::function<void(std::size_t index)>& run) {
  std::atomic<std::size_t> next = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < std::max(1, options.threads); ++i)
    threads.emplace_back([&] {
      for (std::size_t index = next++; index < count; index = next++) run(index);
    });
}

}  // namespace kernelites
