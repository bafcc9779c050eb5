// SPDX-License-Identifier: Apache-2.0
// Experiment `forecast`: whether the next improvement comes as often, and when, as the forecast says.
//
// Forecasts are made 10, 25, 50, 100 and 250 variations after the last improvement; only those count whose horizon (as
// many variations as there were) the run lived to see.
#include <fmt/format.h>

#include <algorithm>

#include "engine/search/elite_gains.h"
#include "engine/search/selection.h"
#include "engine/search/stagnation.h"
#include "tests/bench/search_experiments.h"

namespace kernelites {
namespace {

constexpr int k_barren[] = {10, 25, 50, 100, 250};

struct Made {
  std::size_t arena = 0;
  int barren = 0;
  Forecast forecast;
  double horizon = 0;  ///< variations
  double wait = 0;     ///< until the improvement; 0: none within the horizon
};

std::vector<Made> run_once(const Arena& arena, const BenchOptions& options, std::uint64_t seed) {
  SearchWorld world(arena, {.seed = seed, .rule = {.looks_max = options.looks}, .noise = options.noise});
  Stagnation stagnation;
  EliteGains gains;
  gains.take("added", world.grid().elites().front().cell, 1);
  RunConfig config;
  config.operators = {{"refine", 1}};
  std::vector<Made> made;
  std::vector<std::pair<std::size_t, double>> open;  // index in `made`, and variations when it was made
  double variations = 0;
  while (world.evaluations() < options.budget) {
    const std::uint64_t ordinal = world.next_ordinal();
    const auto selection = select(world.grid(), world.choices(), config, Rng::keyed(seed, ordinal, "select"));
    Rng rng = Rng::keyed(seed, ordinal, "edit");
    const std::string& parent = selection->parents.parent_id;
    const Told told =
        world.submit(parent, scripted_edit(arena.landscape, world.point_of(parent), options.rates, rng));
    ++variations;
    stagnation.over(ordinal, 0, 0);
    const bool is_elite = told.status == "added" || told.status == "improved";
    if (is_elite && gains.take(told.status, told.cell, world.grid().find(told.cell)->fitness).is_best) {
      stagnation.improved(ordinal);
      for (const auto& [index, since] : open)
        if (variations - since <= made[index].horizon) made[index].wait = variations - since;
      open.clear();
    }
    const Forecast forecast = stagnation.forecast();
    if (!forecast.is_known ||
        std::find(std::begin(k_barren), std::end(k_barren), stagnation.barren()) == std::end(k_barren))
      continue;
    open.emplace_back(made.size(), variations);
    made.push_back({.barren = stagnation.barren(), .forecast = forecast, .horizon = variations});
  }
  // What the run did not live to see says nothing, whether the improvement came or not.
  std::erase_if(made, [&](const Made& one) { return 2 * one.horizon > variations; });
  return made;
}

void print_row(const std::string& name, const std::vector<Made>& made,
               const std::function<bool(const Made&)>& belongs) {
  double count = 0, said = 0, came = 0, within = 0, before_median = 0;
  for (const Made& one : made) {
    if (!belongs(one)) continue;
    ++count;
    said += one.forecast.chance;
    if (one.wait <= 0) continue;
    ++came;
    within += one.wait > one.forecast.low.variations && one.wait <= one.forecast.high.variations + 0.5;
    before_median += one.wait <= one.forecast.median.variations + 0.5;
  }
  fmt::print("| {} | {:.0f} | {:.0f} % | {:.0f} % | {:.0f} % | {:.0f} % |\n", name, count,
             100 * said / std::max(1.0, count), 100 * came / std::max(1.0, count),
             100 * within / std::max(1.0, came), 100 * before_median / std::max(1.0, came));
}

}  // namespace

void run_forecast(const BenchOptions& options, const std::vector<Arena>& arenas) {
  std::vector<Made> all;
  for (std::size_t a = 0; a < arenas.size(); ++a) {
    std::vector<std::vector<Made>> runs(static_cast<std::size_t>(options.seeds));
    for_each_run(options, runs.size(),
                 [&](std::size_t i) { runs[i] = run_once(arenas[a], options, options.first_seed + i); });
    for (std::vector<Made>& run : runs)
      for (Made& one : run) {
        one.arena = a;
        all.push_back(one);
      }
  }
  fmt::print(
      "| forecasts | number | said to come | came | within the interval of 80 % | before the median |\n");
  fmt::print("| --- | --- | --- | --- | --- | --- |\n");
  for (const int barren : k_barren)
    print_row(fmt::format("after {} in vain", barren), all,
              [&](const Made& one) { return one.barren == barren; });
  for (std::size_t a = 0; a < arenas.size(); ++a)
    print_row(fmt::format("`{}`", arenas[a].landscape.name), all,
              [&](const Made& one) { return one.arena == a; });
  print_row("all", all, [](const Made&) { return true; });
}

}  // namespace kernelites
