// SPDX-License-Identifier: Apache-2.0
// Experiment `triage`: what leaving out duels by modelled times saves, and what it loses.
//
// Modelled times of all points lie in tests/support/landscapes/modelled_times.json: the virtual GPU's, of the same
// kernels at the same workloads (landscape_requests.py model).
#include <fmt/format.h>

#include "engine/core/error.h"
#include "engine/search/selection.h"
#include "tests/bench/search_experiments.h"

namespace kernelites {
namespace {

constexpr double k_goal = 0.99;

struct Policy {
  const char* name;
  TriageSettings settings;
};

constexpr const char* k_skip = "skip";

std::vector<Policy> policies() {
  return {{"off", {}},
          {"1 error", {.mode = k_skip, .errors = 1}},
          {"2 errors", {.mode = k_skip, .errors = 2}},
          {"3 errors", {.mode = k_skip, .errors = 3}},
          {"5 errors", {.mode = k_skip, .errors = 5}}};
}

/// By point; empty where a point has none.
ModelledPoints modelled_points(const Json& all, const Landscape& landscape) {
  ModelledPoints modelled(landscape.points.size());
  for (const auto& [point, times] : all.at(landscape.name).items())
    for (std::size_t w = 0; w < landscape.workloads.size(); ++w)
      modelled.at(std::stoul(point))[landscape.workloads[w]] = times.at(w).get<double>();
  for (std::size_t i = 0; i < modelled.size(); ++i) {
    const std::size_t twin = landscape.points[i].twin;
    if (landscape.points[i].is_passed()) modelled[i] = modelled[twin];
  }
  return modelled;
}

struct Run {
  double evaluations = 0;
  bool has_reached = false;
  SearchWorld::Counts counts;
};

Run run_once(const Arena& arena, const BenchOptions& options, const ModelledPoints& modelled,
             const TriageSettings& triage, std::uint64_t seed) {
  RunConfig config;
  config.operators = {{"refine", 1}};
  SearchWorld world(arena, {.seed = seed,
                            .rule = {.looks_max = options.looks},
                            .noise = options.noise,
                            .triage = triage,
                            .modelled = &modelled});
  Run run{.evaluations = static_cast<double>(options.budget)};
  while (world.evaluations() < options.budget) {
    const std::uint64_t ordinal = world.next_ordinal();
    Rng select_rng = Rng::keyed(seed, ordinal, "select"), edit_rng = Rng::keyed(seed, ordinal, "edit");
    const std::string parent = select(world.grid(), world.choices(), config, select_rng)->parents.parent_id;
    world.submit(parent, scripted_edit(world.landscape(), world.point_of(parent), options.rates, edit_rng));
    if (run.has_reached || world.reached() < k_goal) continue;
    run.evaluations = static_cast<double>(world.evaluations());
    run.has_reached = true;
  }
  run.counts = world.counts();
  return run;
}

}  // namespace

void run_triage(const BenchOptions& options, const std::vector<Arena>& arenas) {
  const Json all = read_json(std::filesystem::path(KERNELITES_SOURCE_DIR) /
                             "tests/support/landscapes/modelled_times.json");
  fmt::print("| far behind by |");
  for (const Arena& arena : arenas) fmt::print(" `{}` |", arena.landscape.name);
  fmt::print(" others need | reached | duels | left out | of them wrongly |\n| --- |");
  for (std::size_t i = 0; i < arenas.size() + 5; ++i) fmt::print(" --- |");
  fmt::print("\n");
  std::vector<std::vector<double>> first;
  for (const Policy& policy : policies()) {
    std::vector<std::vector<double>> evaluations;
    double reached = 0, duels = 0, timed = 0, left_out = 0, wrongly = 0;
    fmt::print("| {} |", policy.name);
    for (const Arena& arena : arenas) {
      const ModelledPoints modelled = modelled_points(all, arena.landscape);
      std::vector<double>& of_arena = evaluations.emplace_back();
      std::vector<Run> runs(static_cast<std::size_t>(options.seeds));
      for_each_run(options, runs.size(), [&](std::size_t i) {
        runs[i] = run_once(arena, options, modelled, policy.settings, options.first_seed + i);
      });
      for (const Run& run : runs) {
        of_arena.push_back(run.evaluations);
        reached += run.has_reached;
        duels += static_cast<double>(run.counts.duels);
        timed += static_cast<double>(run.counts.timed);
        left_out += static_cast<double>(run.counts.left_out);
        wrongly += static_cast<double>(run.counts.left_out_wrongly);
      }
      const Estimate estimate = bootstrap_median(of_arena);
      fmt::print(" {:.0f} ({:.0f}-{:.0f}) |", estimate.value, estimate.low, estimate.high);
    }
    if (first.empty()) first = evaluations;
    const Estimate ratio = bootstrap_ratio(evaluations, first);
    const double runs = static_cast<double>(arenas.size()) * options.seeds;
    fmt::print(" {:.2f}x ({:.2f}-{:.2f}) | {:.0f} % | {:.3f} | {:.1f} % | {:.1f} % |\n", ratio.value,
               ratio.low, ratio.high, 100 * reached / runs,
               duels / runs / static_cast<double>(options.budget),
               100 * left_out / std::max(1.0, timed + left_out), 100 * wrongly / std::max(1.0, left_out));
    std::fflush(stdout);
  }
}

}  // namespace kernelites
