// SPDX-License-Identifier: Apache-2.0
// Experiment `policies`: evaluations until the archive's best elite reaches 99 % of the landscape's best.
#include <fmt/format.h>

#include "engine/core/statistics.h"
#include "engine/search/selection.h"
#include "tests/bench/search_experiments.h"

namespace kernelites {
namespace {

constexpr double k_goal = 0.99;

/// Evaluations until the goal, or the budget.
double evaluations_to_goal(const Arena& arena, const BenchOptions& options, const RunConfig& config,
                           std::uint64_t seed) {
  SearchWorld world(arena, {.seed = seed, .noise = options.noise});
  while (world.evaluations() < options.budget) {
    const std::uint64_t ordinal = world.next_ordinal();
    const auto selection =
        select(world.grid(), {.has_model = true}, config, Rng::keyed(seed, ordinal, "select"));
    Rng rng = Rng::keyed(seed, ordinal, "edit");
    const std::string& parent = selection->parents.parent_id;
    world.submit(parent, scripted_edit(arena.landscape, world.point_of(parent), options.rates, rng));
    if (world.reached() >= k_goal) return static_cast<double>(world.evaluations());
  }
  return static_cast<double>(options.budget);
}

}  // namespace

void run_policies(const BenchOptions& options, const std::vector<Arena>& arenas) {
  for (const double greed : {0.0, 0.25, 1.0}) {
    RunConfig config;
    config.operators = {{"refine", 1}};
    config.greed = greed;
    fmt::print("| greed {} |", greed);
    for (const Arena& arena : arenas) {
      std::vector<double> evaluations;
      for (int seed = 1; seed <= options.seeds; ++seed)
        evaluations.push_back(evaluations_to_goal(arena, options, config, static_cast<std::uint64_t>(seed)));
      const Estimate estimate = bootstrap_median(evaluations);
      fmt::print(" {:.0f} ({:.0f}-{:.0f}) |", estimate.value, estimate.low, estimate.high);
    }
    fmt::print("\n");
  }
}

}  // namespace kernelites
