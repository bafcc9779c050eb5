// SPDX-License-Identifier: Apache-2.0
// Experiment `operators`: evaluations until the elite, and until every workload's champion, is within 1 % of the best,
// when an operator has a share of the variations that refine had. What models make of prompts is assumed
// (scripted_operators.h).
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "engine/core/statistics.h"
#include "tests/bench/scripted_operators.h"
#include "tests/bench/search_experiments.h"

namespace kernelites {
namespace {

constexpr double k_goal = 0.99;

using Shares = std::map<std::string, double>;

struct OperatorMix {
  std::string name;
  Shares shares;
  std::string strategy = "map-elites";
  double explores = 0;  ///< share of refine's variations that are another strategy: an operator that left
};

struct Reached {
  double elite = 0, champions = 0;  ///< evaluations, or the budget
};

Reached run_once(const Arena& arena, const BenchOptions& options, const OperatorMix& mix,
                 std::uint64_t seed) {
  RunConfig config;
  config.operators = mix.shares;
  config.strategy = mix.strategy;
  SearchWorld world(arena, {.seed = seed, .rule = {.looks_max = options.looks}, .noise = options.noise});
  std::vector<std::string> failed;
  Reached reached;
  while (reached.elite == 0 || reached.champions == 0) {
    const std::uint64_t ordinal = world.next_ordinal();
    Choices choices = world.choices();
    choices.failed = failed;
    const auto selection = select(world.grid(), choices, config, Rng::keyed(seed, ordinal, "select"));
    Rng rng = Rng::keyed(seed, ordinal, "edit");
    EditRates rates = options.rates;
    if (mix.explores > 0 && rng.uniform() < mix.explores)
      rates.jump = 1 - rates.no_code - rates.broken - rates.cheat - rates.same;
    std::erase(failed, selection->parents.parent_id);
    const Told told =
        world.submit(selection->parents.parent_id, operator_edit(world, *selection, rates, rng));
    if (!told.id.empty() && !told.is_passed) failed.push_back(told.id);
    const bool is_over = world.evaluations() >= options.budget;
    const auto now = static_cast<double>(is_over ? options.budget : world.evaluations());
    if (reached.elite == 0 && (is_over || world.reached() >= k_goal)) reached.elite = now;
    if (reached.champions == 0 && (is_over || world.has_champions(k_goal))) reached.champions = now;
  }
  return reached;
}

std::vector<OperatorMix> mixes() {
  std::vector<OperatorMix> rows{{"refine alone", {{"refine", 1}}}};
  for (const char* name : {"edit", "repair", "crossover", "target", "port"})
    for (const double share : {0.1, 0.3})
      rows.push_back({fmt::format("{} {:.0f} %", name, 100 * share), {{"refine", 1 - share}, {name, share}}});
  for (const double share : {0.1, 0.3})
    rows.push_back(
        {.name = fmt::format("explore {:.0f} %", 100 * share), .shares = {{"refine", 1}}, .explores = share});
  const Shares mixed{{"refine", 0.5}, {"edit", 0.2}, {"repair", 0.15}, {"crossover", 0.15}};
  rows.push_back({"mixed", mixed});
  rows.push_back({"hill-climb, refine alone", {{"refine", 1}}, "hill-climb"});
  rows.push_back({"hill-climb, mixed", mixed, "hill-climb"});
  return rows;
}

}  // namespace

void run_operators(const BenchOptions& options, const std::vector<Arena>& arenas) {
  fmt::print("| shares |");
  for (const Arena& arena : arenas) fmt::print(" `{}` |", arena.landscape.name);
  fmt::print(" elite, of refine alone | champions |\n| --- |");
  for (std::size_t i = 0; i < arenas.size() + 2; ++i) fmt::print(" --- |");
  fmt::print("\n");
  std::vector<std::vector<double>> base_elite, base_champions;
  for (const OperatorMix& mix : mixes()) {
    std::vector<std::vector<double>> elite, champions;
    fmt::print("| {} |", mix.name);
    for (const Arena& arena : arenas) {
      std::vector<Reached> runs(static_cast<std::size_t>(options.seeds));
      for_each_run(options, runs.size(),
                   [&](std::size_t i) { runs[i] = run_once(arena, options, mix, options.first_seed + i); });
      elite.emplace_back();
      champions.emplace_back();
      for (const Reached& run : runs) {
        elite.back().push_back(run.elite);
        champions.back().push_back(run.champions);
      }
      fmt::print(" {:.0f} / {:.0f} |", median(elite.back()), median(champions.back()));
    }
    if (base_elite.empty()) {
      base_elite = elite;
      base_champions = champions;
    }
    const Estimate of_elite = bootstrap_ratio(elite, base_elite),
                   of_champions = bootstrap_ratio(champions, base_champions);
    fmt::print(" {:.2f} ({:.2f}-{:.2f}) | {:.2f} ({:.2f}-{:.2f}) |\n", of_elite.value, of_elite.low,
               of_elite.high, of_champions.value, of_champions.low, of_champions.high);
    std::fflush(stdout);
  }
}

}  // namespace kernelites
