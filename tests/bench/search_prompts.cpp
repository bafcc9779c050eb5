// SPDX-License-Identifier: Apache-2.0
// Experiment `prompts`: what evolving prompts bring and cost.
//
// Assumption: a prompt is nothing but the rates of good and broken edits that it leads to. A rewrite changes them by
// chance: as often for the worse as for the better, or (rows "mostly better") for the better in three of four cases. It
// costs one variation. Which version is asked, rewritten and retired is the search's own choice.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/statistics.h"
#include "engine/search/elite_gains.h"
#include "engine/search/prompt_population.h"
#include "engine/search/selection.h"
#include "tests/bench/search_experiments.h"

namespace kernelites {
namespace {

constexpr double k_goal = 0.99;

struct PromptRow {
  const char* name;
  int every = 0;
  double better = 0.5;  ///< share of the rewrites that are for the better
};

struct Prompt {
  PromptFigures figures;
  EditRates rates;
};

EditRates rewritten(EditRates rates, double better, Rng& rng) {
  const double sign = rng.uniform() < better ? 1 : -1;
  rates.insight = std::clamp(rates.insight + sign * 0.3 * rng.uniform(), 0.0, 1.0);
  rates.broken = std::clamp(rates.broken * std::exp(-sign * 0.7 * rng.uniform()), 0.0, 0.6);
  return rates;
}

std::vector<PromptFigures> figures_of(const std::vector<Prompt>& prompts) {
  std::vector<PromptFigures> figures;
  for (const Prompt& prompt : prompts) figures.push_back(prompt.figures);
  return figures;
}

Prompt& version_of(std::vector<Prompt>& prompts, const std::string& version) {
  return *std::find_if(prompts.begin(), prompts.end(),
                       [&](const Prompt& prompt) { return prompt.figures.version == version; });
}

struct Reached {
  double evaluations = 0, area = 0;
};

Reached run_once(const Arena& arena, const BenchOptions& options, const PromptRow& row, std::uint64_t seed) {
  SearchWorld world(arena, {.seed = seed, .rule = {.looks_max = options.looks}, .noise = options.noise});
  const PopulationSettings settings{.every = row.every};
  std::vector<Prompt> prompts{{.figures = {.version = ""}, .rates = options.rates}};
  Bandit bandit;
  EliteGains gains;
  gains.take("added", world.grid().elites().front().cell, 1);
  std::int64_t begun = 0, rewrites = 0;
  Reached reached;
  const auto spent = [&] { return world.evaluations() + rewrites; };
  while (spent() < options.budget) {
    const std::uint64_t ordinal = world.next_ordinal();
    Rng rng = Rng::keyed(seed, ordinal, "edit");
    const std::int64_t before = spent();
    if (is_rewrite_due(figures_of(prompts), begun, rewrites, settings)) {
      Rng chance = Rng::keyed(seed, ordinal, "rewrite");
      const EditRates from = version_of(prompts, version_to_rewrite(figures_of(prompts), settings)).rates;
      prompts.push_back({.figures = {.version = fmt::format("v{}", ++rewrites)},
                         .rates = rewritten(from, row.better, chance)});
      if (const auto gone = version_to_retire(figures_of(prompts), settings))
        std::erase_if(prompts, [&](const Prompt& prompt) { return prompt.figures.version == *gone; });
    } else {
      RunConfig config;
      Choices choices = world.choices();
      for (const Prompt& prompt : prompts)
        choices.arms.push_back(
            {{"refine", "", prompt.figures.version}, 1.0 / static_cast<double>(prompts.size())});
      choices.bandit = &bandit;
      const auto selection = select(world.grid(), choices, config, Rng::keyed(seed, ordinal, "select"));
      Prompt& asked = version_of(prompts, selection->prompt_version);
      const std::string& parent = selection->parents.parent_id;
      const Told told =
          world.submit(parent, scripted_edit(arena.landscape, world.point_of(parent), asked.rates, rng));
      EliteGain gain;
      if (told.status == "added" || told.status == "improved")
        gain = gains.take(told.status, told.cell, world.grid().find(told.cell)->fitness);
      ++begun;
      ++asked.figures.variations;
      asked.figures.gain_bits += gain.bits;
      bandit.add({"refine", "", asked.figures.version}, ordinal,
                 {.variations = 1,
                  .elites = gain.bits > 0 ? 1 : 0,
                  .gain_ubits = std::llround(1e6 * gain.bits),
                  .cost_uusd = 10'000});
    }
    reached.area +=
        static_cast<double>(spent() - before) * world.reached() / static_cast<double>(options.budget);
    if (reached.evaluations == 0 && world.reached() >= k_goal)
      reached.evaluations = static_cast<double>(spent());
  }
  if (reached.evaluations == 0) reached.evaluations = static_cast<double>(options.budget);
  return reached;
}

}  // namespace

void run_prompts(const BenchOptions& options, const std::vector<Arena>& arenas) {
  const PromptRow rows[] = {{"the files' own"},
                            {"rewritten every 24", 24},
                            {"rewritten every 12", 12},
                            {"every 24, mostly better", 24, 0.75},
                            {"every 12, mostly better", 12, 0.75}};
  fmt::print("| prompts |");
  for (const Arena& arena : arenas) fmt::print(" `{}` |", arena.landscape.name);
  fmt::print(" of the files' own | best so far |\n| --- |");
  for (std::size_t i = 0; i < arenas.size() + 2; ++i) fmt::print(" --- |");
  fmt::print("\n");
  std::vector<std::vector<double>> first;
  for (const PromptRow& row : rows) {
    std::vector<std::vector<double>> evaluations;
    double area = 0;
    fmt::print("| {} |", row.name);
    for (const Arena& arena : arenas) {
      std::vector<Reached> runs(static_cast<std::size_t>(options.seeds));
      for_each_run(options, runs.size(),
                   [&](std::size_t i) { runs[i] = run_once(arena, options, row, options.first_seed + i); });
      evaluations.emplace_back();
      for (const Reached& run : runs) {
        evaluations.back().push_back(run.evaluations);
        area += run.area / static_cast<double>(runs.size() * arenas.size());
      }
      fmt::print(" {:.0f} |", median(evaluations.back()));
    }
    if (first.empty()) first = evaluations;
    const Estimate ratio = bootstrap_ratio(evaluations, first);
    fmt::print(" {:.2f} ({:.2f}-{:.2f}) | {:.2f} % |\n", ratio.value, ratio.low, ratio.high, 100 * area);
    std::fflush(stdout);
  }
}

}  // namespace kernelites
