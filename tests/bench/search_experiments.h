// SPDX-License-Identifier: Apache-2.0
// The experiments of search_bench: one function in a file of its own and one row of the table in search_bench.cpp.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/bench/search_world.h"

namespace kernelites {

/// What the command line says; every experiment prints its tables as Markdown on standard output.
struct BenchOptions {
  int seeds = 40;
  std::int64_t budget = 600;  ///< evaluations of one run
  std::uint64_t first_seed = 1;
  double noise = 1;  ///< times what was measured
  int looks = EliteRule{}.looks_max;
  int threads = 1;  ///< runs at the same time; no figure depends on it
  int rows = 0;     ///< of `policies`: only the first so many; 0: all
  EditRates rates;
};

/// A figure and its interval.
struct Estimate {
  double value = 0, low = 0, high = 0;
};
/// Median with a percentile bootstrap interval at 95 % (2,000 resamples, keyed, so that a table repeats).
Estimate bootstrap_median(const std::vector<double>& samples);
/// Geometric mean over landscapes of median(a) / median(b), with a bootstrap interval in which the runs of every
/// landscape are drawn anew. REQUIRES: as many landscapes in both.
Estimate bootstrap_ratio(const std::vector<std::vector<double>>& a,
                         const std::vector<std::vector<double>>& b);

/// Calls `run` with 0 to `count` - 1, in `options.threads` threads. REQUIRES: calls share nothing that they write.
void for_each_run(const BenchOptions& options, std::size_t count,
                  const std::function<void(std::size_t index)>& run);

void run_bandit(const BenchOptions& options, const std::vector<Arena>& arenas);
void run_forecast(const BenchOptions& options, const std::vector<Arena>& arenas);
void run_operators(const BenchOptions& options, const std::vector<Arena>& arenas);
void run_prompts(const BenchOptions& options, const std::vector<Arena>& arenas);
void run_stagnation(const BenchOptions& options, const std::vector<Arena>& arenas);
void run_triage(const BenchOptions& options, const std::vector<Arena>& arenas);
void run_tuner(const BenchOptions& options, const std::vector<Arena>& arenas);
void run_lessons(const BenchOptions& options, const std::vector<Arena>& arenas);
void run_policies(const BenchOptions& options, const std::vector<Arena>& arenas);

}  // namespace kernelites
