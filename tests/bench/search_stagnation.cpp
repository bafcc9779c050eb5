// SPDX-License-Identifier: Apache-2.0
// Experiment `stagnation`: what stopping saves and loses, and rungs before it that were tried and lost, kept here so
// that the table can be made again.
//
// Assumptions: a nudged model jumps to another strategy as often as it moves; a redirected one has four ideas and tries
// the one whose cell is nearest to the one aimed at.
#include <fmt/format.h>

#include <algorithm>

#include "engine/core/statistics.h"
#include "engine/search/elite_gains.h"
#include "engine/search/selection.h"
#include "engine/search/stagnation.h"
#include "engine/search/target_cell.h"
#include "tests/bench/scripted_operators.h"
#include "tests/bench/search_experiments.h"

namespace kernelites {
namespace {

constexpr double k_goal = 0.99;
constexpr double k_nudged_jumps = 0.4;

/// Axes' labels apart.
std::vector<std::string> empty_neighbours(const Grid& grid) {
  std::vector<std::string> cells;
  for (const std::string& cell : grid.cells()) {
    bool is_beside = false;
    grid.for_each([&](const Elite& elite) { is_beside = is_beside || cell_distance(elite.cell, cell) == 1; });
    if (is_beside && grid.find(cell) == nullptr) cells.push_back(cell);
  }
  return cells;
}

/// Every other time an empty cell beside an elite, else one that improved lately.
std::string redirect_cell(const Grid& grid, const std::vector<std::string>& rising, Rng& rng) {
  const std::vector<std::string> empty = empty_neighbours(grid);
  const bool wants_empty = rng.below(2) == 0;
  const std::vector<std::string>& chosen = (wants_empty && !empty.empty()) || rising.empty() ? empty : rising;
  return chosen.empty() ? "" : chosen[rng.below(chosen.size())];
}

/// A uniform draw of the elites but the fastest; empty if there is no other.
std::string any_but_best(const Grid& grid, Rng& rng) {
  std::vector<Elite> elites = grid.elites();
  const std::string best = grid.best()->candidate_id;
  std::erase_if(elites, [&](const Elite& elite) { return elite.candidate_id == best; });
  return elites.empty() ? "" : elites[rng.below(elites.size())].candidate_id;
}

/// Which rungs count. The first comes after `patience` variations without a faster elite, the others after as many more
/// each; each keeps what those below it do.
struct Ladder {
  std::string name;
  bool nudges = false, redirects = false, restarts = false;
  int patience = 50;
  bool stops = false;
};

struct Run {
  double evaluations = 0, reached = 0;
};

Run run_once(const Arena& arena, const BenchOptions& options, const Ladder& ladder, std::uint64_t seed) {
  SearchWorld world(arena, {.seed = seed, .rule = {.looks_max = options.looks}, .noise = options.noise});
  constexpr int k_rungs = 5;
  Stagnation stagnation({.is_on = ladder.stops, .patience = k_rungs * ladder.patience});
  EliteGains gains;
  gains.take("added", world.grid().elites().front().cell, 1);
  RunConfig config;
  config.operators = {{"refine", 1}};
  std::vector<std::string> rising;
  while (world.evaluations() < options.budget && !stagnation.is_over_due()) {
    const std::uint64_t ordinal = world.next_ordinal();
    Rng rng = Rng::keyed(seed, ordinal, "edit"), chance = Rng::keyed(seed, ordinal, "impulse");
    const int rung = stagnation.barren() / ladder.patience % k_rungs;
    const bool is_redirected = chance.uniform() < 0.5 && rung >= 2,
               is_restarted = chance.uniform() < 0.5 && rung >= 4;
    Choices choices = world.choices();
    EditRates rates = options.rates;
    if (rung >= 1 && ladder.nudges) rates.jump = k_nudged_jumps;
    if (is_redirected && ladder.redirects) choices.target_cell = redirect_cell(world.grid(), rising, chance);
    const auto selection = select(world.grid(), choices, config, Rng::keyed(seed, ordinal, "select"));
    std::string parent = selection->parents.parent_id;
    if (is_restarted && ladder.restarts)
      if (const std::string other = any_but_best(world.grid(), chance); !other.empty()) parent = other;
    const std::string& target = selection->parents.target_cell;
    const Told told = world.submit(
        parent, target.empty() ? scripted_edit(arena.landscape, world.point_of(parent), rates, rng)
                               : edit_towards(world, parent, target, rates, rng));
    stagnation.over(ordinal, 0, 0);
    if (told.status == "added" || told.status == "improved") {
      if (told.status == "improved") {
        std::erase(rising, told.cell);
        rising.insert(rising.begin(), told.cell);
        if (rising.size() > 4) rising.pop_back();
      }
      if (gains.take(told.status, told.cell, world.grid().find(told.cell)->fitness).is_best)
        stagnation.improved(ordinal);
    }
  }
  return {.evaluations = static_cast<double>(world.evaluations()), .reached = world.reached()};
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
  std::vector<double> at_goal;
  for (const auto& of_arena : runs)
    for (const Run& run : of_arena) at_goal.push_back(is_at_goal(run));
  const Estimate goal = paired_difference(runs, without, is_at_goal);
  const Estimate reached = paired_difference(runs, without, reached_percent);
  const Estimate cost =
      bootstrap_ratio(figures_of(runs, evaluations_of), figures_of(without, evaluations_of));
  fmt::print("| {} | {:.1f} % | {:+.1f} ({:+.1f} to {:+.1f}) | {:+.2f} ({:+.2f} to {:+.2f}) |", name,
             mean(at_goal), goal.value, goal.low, goal.high, reached.value, reached.low, reached.high);
  fmt::print(" {:.2f} ({:.2f}-{:.2f}) |\n", cost.value, cost.low, cost.high);
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
  fmt::print("| ladder | runs at {:.0f} % | points more | reached, points more | evaluations |\n",
             100 * k_goal);
  fmt::print("| --- | --- | --- | --- | --- |\n");
  Runs without;
  for (const Ladder& ladder : ladders) {
    Runs runs(arenas.size());
    for (std::size_t a = 0; a < arenas.size(); ++a) {
      runs[a].resize(static_cast<std::size_t>(options.seeds));
      for_each_run(options, runs[a].size(), [&](std::size_t i) {
        runs[a][i] = run_once(arenas[a], options, ladder, options.first_seed + i);
      });
    }
    if (without.empty()) without = runs;
    print_row(ladder.name, runs, without);
    std::fflush(stdout);
  }
}

}  // namespace kernelites
