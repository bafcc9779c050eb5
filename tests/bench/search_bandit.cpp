// SPDX-License-Identifier: Apache-2.0
// Experiment `bandit`: what a run reaches for a sum of money with one arm, with all of them, and with the bandit.
//
// Arms are scripted models of different prices and rates of good and broken edits. Money is calls, and the device at
// the bandit's price for an hour; every run spends the same.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/statistics.h"
#include "engine/search/elite_gains.h"
#include "engine/search/selection.h"
#include "tests/bench/search_experiments.h"

namespace kernelites {
namespace {

constexpr double k_examine_s = 1.0, k_duel_s = 3.0;  // of the device
/// Money of one run; the first is where most runs are still climbing.
constexpr double k_money[] = {0.5, 2.0};
constexpr double k_goal = 0.95;
constexpr std::uint64_t k_early_until = 60;  // when the arm `early` turns bad

struct BenchArm {
  const char* name;
  double usd;
  EditRates early, late;
};

struct Scenario {
  const char* name;
  std::vector<BenchArm> arms;
};

/// Rates are arguments, not measurements; prices differ as those of small and large models do.
std::vector<Scenario> scenarios(const EditRates& base) {
  EditRates weak = base, strong = base, bad = base, early = base;
  weak.broken = 0.35;
  weak.no_code = 0.08;
  weak.insight = 0.05;
  strong.broken = 0.05;
  strong.insight = 0.8;
  early.insight = 0.9;
  early.broken = 0.05;
  bad.broken = 0.85;
  bad.insight = 0;
  const BenchArm cheap{"cheap and weak", 0.001, weak, weak}, dear{"dear and strong", 0.02, strong, strong},
      turning{"good early, bad late", 0.004, early, bad}, useless{"useless", 0.004, bad, bad};
  std::vector<BenchArm> one_of_eight{cheap};
  for (const char* name :
       {"useless", "useless 2", "useless 3", "useless 4", "useless 5", "useless 6", "useless 7"})
    one_of_eight.push_back({name, 0.004, bad, bad});
  return {{"four kinds", {cheap, dear, turning, useless}},
          {"weak or strong", {cheap, dear}},
          {"good early or steady", {turning, cheap}},
          {"one good arm of eight", one_of_eight}};
}

enum class Reward { bits, status, best };

/// One way to choose among the arms.
struct Chooser {
  std::string name;
  BanditSettings settings;
  int only = -1;  ///< the one arm that is asked; -1: all
  bool knows_cost = true;
  Reward reward = Reward::bits;
};

/// Of one run.
struct Outcome {
  double reached[2] = {}, area = 0, money_to_goal = 0;
};

/// Of the runs in one landscape.
struct Outcomes {
  std::vector<double> reached[2];     // by money
  std::vector<double> area;           // mean share reached while the first money was spent
  std::vector<double> money_to_goal;  // all of it where the goal is not reached
};

double worth(Reward reward, const EliteGain& gain) {
  switch (reward) {
    case Reward::status:
      return gain.bits > 0 ? 1 : 0;
    case Reward::best:
      return gain.is_best ? gain.bits : 0;
    case Reward::bits:
      break;
  }
  return gain.bits;
}

Outcome run_once(const Arena& arena, const BenchOptions& options, const std::vector<BenchArm>& arms,
                 const Chooser& chooser, std::uint64_t seed) {
  Outcome outcome;
  SearchWorld world(arena, {.seed = seed, .rule = {.looks_max = options.looks}, .noise = options.noise});
  Bandit bandit(chooser.settings);
  EliteGains gains;
  gains.take("added", world.grid().elites().front().cell, 1);
  RunConfig config;
  Choices choices = world.choices();
  for (std::size_t i = 0; i < arms.size(); ++i)
    if (chooser.only < 0 || chooser.only == static_cast<int>(i))
      choices.arms.push_back({{"refine", arms[i].name, ""}, 1});
  choices.bandit = &bandit;
  double spent = 0, to_goal = k_money[1], area = 0;
  bool is_first_taken = false;
  while (spent < k_money[1]) {
    const std::uint64_t ordinal = world.next_ordinal();
    const auto selection = select(world.grid(), choices, config, Rng::keyed(seed, ordinal, "select"));
    const BenchArm& arm = *std::find_if(arms.begin(), arms.end(),
                                        [&](const BenchArm& one) { return selection->endpoint == one.name; });
    Rng rng = Rng::keyed(seed, ordinal, "edit");
    const std::string& parent = selection->parents.parent_id;
    const std::int64_t evaluations = world.evaluations();
    const double reached = world.reached();  // before it is there, a candidate is worth nothing
    const Told told =
        world.submit(parent, scripted_edit(arena.landscape, world.point_of(parent),
                                           ordinal < k_early_until ? arm.early : arm.late, rng));
    const double device_s =
        k_examine_s * static_cast<double>(world.evaluations() - evaluations) + k_duel_s * told.duels;
    const double usd = arm.usd + device_s * chooser.settings.usd_per_device_hour / 3600;
    EliteGain gain;
    if (told.status == "added" || told.status == "improved")
      gain = gains.take(told.status, told.cell, world.grid().find(told.cell)->fitness);
    const double bits = worth(chooser.reward, gain);
    bandit.add({"refine", arm.name, ""}, ordinal,
               {.variations = 1,
                .elites = bits > 0 ? 1 : 0,
                .gain_ubits = std::llround(1e6 * bits),
                .cost_uusd = std::llround(1e6 * (chooser.knows_cost ? usd : 0.01))});
    const double step = usd + chooser.settings.usd_per_variation;
    if (spent < k_money[0]) area += reached * std::min(step, k_money[0] - spent) / k_money[0];
    spent += step;
    if (!is_first_taken && spent >= k_money[0]) {
      outcome.reached[0] = world.reached();
      is_first_taken = true;
    }
    if (world.reached() >= k_goal) to_goal = std::min(to_goal, spent);
  }
  outcome.area = area;
  outcome.reached[1] = world.reached();
  outcome.money_to_goal = to_goal;
  return outcome;
}

std::vector<Chooser> choosers(const std::vector<BenchArm>& arms) {
  std::vector<Chooser> all;
  for (std::size_t i = 0; i < std::min<std::size_t>(arms.size(), 4); ++i)
    all.push_back({fmt::format("only: {}", arms[i].name), {}, static_cast<int>(i)});
  all.push_back({"all, equal shares", {.is_on = false}});
  all.push_back({"bandit", {}});
  all.push_back({"costs unknown", {}, -1, false});
  all.push_back({"reward is the add status", {}, -1, true, Reward::status});
  all.push_back({"reward is the best alone", {}, -1, true, Reward::best});
  all.push_back({"nothing fades", {.half_life = 1e6}});
  for (const double half_life : {25.0, 50.0, 200.0})
    all.push_back({fmt::format("half life {:.0f}", half_life), {.half_life = half_life}});
  for (const double floor : {0.0, 0.1, 0.4})
    all.push_back({fmt::format("floor {:.1f}", floor), {.floor = floor}});
  return all;
}

using Figure = const std::vector<double>& (*)(const Outcomes& outcomes);

struct Column {
  const char* name;
  bool is_cost;  ///< the less the better
  Figure figure;
};
constexpr Column k_columns[] = {
    {"mean until $0.5", false, [](const Outcomes& one) -> const std::vector<double>& { return one.area; }},
    {"at $0.5", false, [](const Outcomes& one) -> const std::vector<double>& { return one.reached[0]; }},
    {"at $2", false, [](const Outcomes& one) -> const std::vector<double>& { return one.reached[1]; }},
    {"money to the goal", true,
     [](const Outcomes& one) -> const std::vector<double>& { return one.money_to_goal; }}};

/// One chooser's runs, by landscape.
using Row = std::vector<Outcomes>;

/// The best single arm of every landscape, which is known afterwards only.
std::vector<std::vector<double>> best_arm(const std::vector<Row>& rows, std::size_t arms,
                                          const Column& column) {
  std::vector<std::vector<double>> best;
  for (std::size_t a = 0; a < rows[0].size(); ++a) {
    std::size_t chosen = 0;
    for (std::size_t i = 1; i < arms; ++i) {
      const double one = median(column.figure(rows[i][a])), other = median(column.figure(rows[chosen][a]));
      if (column.is_cost ? one < other : one > other) chosen = i;
    }
    best.push_back(column.figure(rows[chosen][a]));
  }
  return best;
}

std::vector<std::vector<double>> figures_of(const Row& row, const Column& column) {
  std::vector<std::vector<double>> figures;
  for (const Outcomes& one : row) figures.push_back(column.figure(one));
  return figures;
}

void print_scenario(const Scenario& scenario, const BenchOptions& options, const std::vector<Arena>& arenas) {
  const std::vector<Chooser> all = choosers(scenario.arms);
  const std::size_t singles = std::min<std::size_t>(scenario.arms.size(), 4);
  std::vector<Row> rows;
  for (const Chooser& chooser : all) {
    Row& row = rows.emplace_back(arenas.size());
    for (std::size_t a = 0; a < arenas.size(); ++a) {
      std::vector<Outcome> runs(static_cast<std::size_t>(options.seeds));
      for_each_run(options, runs.size(), [&](std::size_t i) {
        runs[i] = run_once(arenas[a], options, scenario.arms, chooser, options.first_seed + i);
      });
      for (const Outcome& run : runs) {
        for (const int money : {0, 1}) row[a].reached[money].push_back(run.reached[money]);
        row[a].area.push_back(run.area);
        row[a].money_to_goal.push_back(run.money_to_goal);
      }
    }
  }
  fmt::print("\n{}\n\n|  |", scenario.name);
  for (const Column& column : k_columns) fmt::print(" {} |", column.name);
  for (std::size_t c = 0; c < all.size(); ++c) {
    fmt::print("\n| {} |", all[c].name);
    for (const Column& column : k_columns) {
      const Estimate ratio = bootstrap_ratio(figures_of(rows[c], column), best_arm(rows, singles, column));
      fmt::print(" {:.3f} ({:.3f}-{:.3f}) |", ratio.value, ratio.low, ratio.high);
    }
  }
  fmt::print("\n");
  std::fflush(stdout);
}

}  // namespace

void run_bandit(const BenchOptions& options, const std::vector<Arena>& arenas) {
  fmt::print("Ratios to the best single arm of each landscape, geometric means; the goal is {:.0f} %\n",
             100 * k_goal);
  for (const Scenario& scenario : scenarios(options.rates)) print_scenario(scenario, options, arenas);
}

}  // namespace kernelites
