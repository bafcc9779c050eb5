// SPDX-License-Identifier: Apache-2.0
// Experiment `stagnation`: the ladder rung by rung, what stopping saves and loses, and whether the forecast is right.
//
// What a scripted model makes of a nudge is an assumption: that jumps to another strategy become as frequent as moves.
#include <fmt/format.h>

#include <algorithm>

#include "engine/core/statistics.h"
#include "engine/search/elite_gains.h"
#include "engine/search/selection.h"
#include "engine/search/stagnation.h"
#include "engine/search/target_cell.h"
#include "tests/bench/search_experiments.h"

namespace kernelites {
namespace {

constexpr double k_goal = 0.99;
constexpr double k_nudged_jumps = 0.4;

/// Which rungs count.
struct Ladder {
  std::string name;
  bool nudges = false, redirects = false, restarts = false;
  int patience = 50;
  bool stops = false;
};

struct Run {
  double evaluations = 0, reached = 0;
  int forecasts = 0,
      in_time = 0;  ///< made at a rung's first variation, and those whose improvement came before
};

Run run_once(const Arena& arena, const BenchOptions& options, const Ladder& ladder, std::uint64_t seed) {
  SearchWorld world(arena, {.seed = seed, .noise = options.noise});
  Stagnation stagnation({.patience = ladder.patience, .stops = ladder.stops});
  EliteGains gains;
  gains.take("added", world.grid().elites().front().cell, 1);
  RunConfig config;
  config.operators = {{"refine", 1}};
  std::vector<std::string> rising;
  Run run;
  double due = -1;  // of the forecast that is open
  std::uint64_t variations = 0;
  while (world.evaluations() < options.budget && stagnation.rung() != Rung::stop) {
    const std::uint64_t ordinal = world.next_ordinal();
    Rng rng = Rng::keyed(seed, ordinal, "edit"), chance = Rng::keyed(seed, ordinal, "impulse");
    const Impulse impulse = impulse_of(stagnation.rung(), chance);
    Choices choices{.has_model = true};
    EditRates rates = options.rates;
    if (impulse.is_nudged && ladder.nudges) rates.jump = k_nudged_jumps;
    if (impulse.is_redirected && ladder.redirects)
      choices.target_cell = redirect_cell(world.grid(), rising, chance);
    choices.is_restarted = impulse.is_restarted && ladder.restarts;
    const auto selection = select(world.grid(), choices, config, Rng::keyed(seed, ordinal, "select"));
    const std::string& parent = selection->parents.parent_id;
    const Told told =
        world.submit(parent, scripted_edit(arena.landscape, world.point_of(parent), rates, rng));
    ++variations;
    stagnation.over(ordinal, 0, 0);
    if (due < 0 && stagnation.barren() == ladder.patience / 2) {
      due = static_cast<double>(variations) + stagnation.forecast().variations;
      ++run.forecasts;
    }
    if (told.status == "added" || told.status == "improved") {
      if (told.status == "improved") {
        std::erase(rising, told.cell);
        rising.insert(rising.begin(), told.cell);
        if (rising.size() > 4) rising.pop_back();
      }
      if (gains.take(told.status, told.cell, world.grid().find(told.cell)->fitness).is_best) {
        stagnation.improved(ordinal);
        if (due >= 0) run.in_time += static_cast<double>(variations) <= due;
        due = -1;
      }
    }
  }
  // An improvement that was not due yet when the run ended says nothing.
  if (due > static_cast<double>(variations)) --run.forecasts;
  run.evaluations = static_cast<double>(world.evaluations());
  run.reached = world.reached();
  return run;
}

/// All runs of one ladder: by landscape, then by seed.
using Runs = std::vector<std::vector<Run>>;
using Figure = double (*)(const Run& run);

std::vector<std::vector<double>> figures_of(const Runs& runs, Figure figure) {
  std::vector<std::vector<double>> figures;
  for (const auto& of_arena : runs) {
    std::vector<double>& row = figures.emplace_back();
    for (const Run& run : of_arena) row.push_back(figure(run));
  }
  return figures;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// Mean difference to the same runs without a ladder, with a bootstrap interval at 95 %: until the first rung they are
/// the same.
Estimate paired_difference(const Runs& runs, const Runs& without, Figure figure) {
  std::vector<double> differences, means;
  for (std::size_t a = 0; a < runs.size(); ++a)
    for (std::size_t i = 0; i < runs[a].size(); ++i)
      differences.push_back(figure(runs[a][i]) - figure(without[a][i]));
  Rng rng(1);
  for (int resample = 0; resample < 2000; ++resample) {
    std::vector<double> drawn;
    for (std::size_t i = 0; i < differences.size(); ++i)
      drawn.push_back(differences[rng.below(differences.size())]);
    means.push_back(mean(drawn));
  }
  std::sort(means.begin(), means.end());
  return {mean(differences), means[49], means[1950]};
}

double is_at_goal(const Run& run) { return run.reached >= k_goal ? 100 : 0; }
double reached_percent(const Run& run) { return 100 * run.reached; }
double evaluations_of(const Run& run) { return run.evaluations; }

void print_row(const std::string& name, const Runs& runs, const Runs& without) {
  int forecasts = 0, in_time = 0;
  std::vector<double> at_goal;
  for (const auto& of_arena : runs)
    for (const Run& run : of_arena) {
      at_goal.push_back(is_at_goal(run));
      forecasts += run.forecasts;
      in_time += run.in_time;
    }
  const Estimate goal = paired_difference(runs, without, is_at_goal);
  const Estimate reached = paired_difference(runs, without, reached_percent);
  const Estimate cost =
      bootstrap_ratio(figures_of(runs, evaluations_of), figures_of(without, evaluations_of));
  fmt::print("| {} | {:.1f} % | {:+.1f} ({:+.1f} to {:+.1f}) | {:+.2f} ({:+.2f} to {:+.2f}) |", name,
             mean(at_goal), goal.value, goal.low, goal.high, reached.value, reached.low, reached.high);
  fmt::print(" {:.2f} ({:.2f}-{:.2f}) | {:.0f} % of {} |\n", cost.value, cost.low, cost.high,
             100.0 * in_time / std::max(1, forecasts), forecasts);
}

}  // namespace

void run_stagnation(const BenchOptions& options, const std::vector<Arena>& arenas) {
  const std::vector<Ladder> ladders{{"none"},
                                    {"nudge", true},
                                    {"redirect", false, true},
                                    {"restart", false, false, true},
                                    {"all three", true, true, true},
                                    {"all three, patience 25", true, true, true, 25},
                                    {"stop", false, false, false, 50, true},
                                    {"stop, patience 25", false, false, false, 25, true},
                                    {"all four", true, true, true, 50, true},
                                    {"all four, patience 25", true, true, true, 25, true}};
  fmt::print(
      "| ladder | runs at {:.0f} % | points more | reached, points more | evaluations | forecasts in time "
      "|\n",
      100 * k_goal);
  fmt::print("| --- | --- | --- | --- | --- | --- |\n");
  Runs without;
  for (const Ladder& ladder : ladders) {
    Runs runs(arenas.size());
    for (std::size_t a = 0; a < arenas.size(); ++a)
      for (int seed = 1; seed <= options.seeds; ++seed)
        runs[a].push_back(run_once(arenas[a], options, ladder, static_cast<std::uint64_t>(seed)));
    if (without.empty()) without = runs;
    print_row(ladder.name, runs, without);
  }
}

}  // namespace kernelites
