// SPDX-License-Identifier: Apache-2.0
// Experiment `policies`: evaluations until the archive's best elite reaches 99 % of the landscape's best.
//
// Strategies and the default policy are the search's own. The other rows are policies that were tried and lost, kept
// here so that the table can be made again.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/core/statistics.h"
#include "engine/search/selection.h"
#include "tests/bench/search_experiments.h"

namespace kernelites {
namespace {

constexpr double k_goal = 0.99;

/// What the losing policies look at: children and rewards by cell.
struct CellPast {
  double children = 0, reward = 0;  // sums
  double curiosity = 1;             // +1 for a child that entered the grid, -0.5 for one that did not
  double recent = 0;                // decayed reward: the improvement rate
  double threshold = 0;             // of CMA-MAE, as log of the speed-up
  bool has_threshold = false;
  std::map<std::string, double> accepted;  // candidates over the threshold when they came
};
using Past = std::map<std::string, CellPast>;
using Pick = std::function<std::string(const SearchWorld&, Past&, Rng&)>;

struct Policy {
  std::string name;
  std::function<void(RunConfig&)> configure;  // of the search's own
  Pick pick;                                  // instead of it
  int islands = 1;
};

std::string draw_elite(const SearchWorld& world, Rng& rng,
                       const std::function<double(const Elite&)>& weight) {
  const std::vector<Elite> elites = world.grid().elites();
  std::vector<double> weights;
  for (const Elite& elite : elites) weights.push_back(weight(elite));
  return elites[rng.weighted(weights)].candidate_id;
}

std::string pick_rank(const SearchWorld& world, Past&, Rng& rng) {
  return draw_elite(world, rng, [&](const Elite& elite) {
    double rank = 1;
    world.grid().for_each([&](const Elite& other) { rank += other.fitness > elite.fitness; });
    return 1 / rank;
  });
}

std::string pick_greedy(const SearchWorld& world, Past&, Rng& rng) {
  if (rng.uniform() < 0.25) return world.grid().best()->candidate_id;
  return draw_elite(world, rng, [](const Elite&) { return 1.0; });
}

std::string pick_ucb(const SearchWorld& world, Past& past, Rng& rng) {
  double total = 1, best = -1;
  for (const auto& [cell, one] : past) total += one.children;
  std::map<std::string, double> bound;
  world.grid().for_each([&](const Elite& elite) {
    const CellPast& one = past[elite.cell];
    const double n = one.children + 1e-3;
    bound[elite.cell] = one.reward / n + std::sqrt(0.1 * std::log(total) / n);
    best = std::max(best, bound[elite.cell]);
  });
  return draw_elite(world, rng, [&](const Elite& elite) { return bound[elite.cell] >= best ? 1.0 : 0.0; });
}

/// CMA-MAE (Fontaine and Nikolaidis 2023): a cell's threshold follows what is accepted at the rate 0.2.
std::string pick_threshold(const SearchWorld& world, Past& past, Rng& rng) {
  std::vector<std::string> ids;
  std::vector<double> scores;
  world.grid().for_each([&](const Elite& elite) {
    for (const auto& [id, speed] : past[elite.cell].accepted) {
      if (speed < past[elite.cell].threshold && id != elite.candidate_id) continue;
      ids.push_back(id);
      scores.push_back(speed / RunConfig().speed_scale - std::log1p(world.pool().children(id, true)));
    }
  });
  if (ids.empty()) return world.grid().best()->candidate_id;
  const double best = *std::max_element(scores.begin(), scores.end());
  std::vector<double> weights;
  for (const double score : scores) weights.push_back(score >= best ? 1.0 : 0.0);
  return ids[rng.weighted(weights)];
}

void note(Past& past, const std::string& parent_cell, const Told& told) {
  CellPast& parent = past[parent_cell];
  const bool entered = told.status == "added" || told.status == "improved";
  ++parent.children;
  parent.reward += entered;
  parent.curiosity = std::max(0.05, parent.curiosity + (entered ? 1 : -0.5));
  parent.recent = 0.95 * parent.recent + 0.05 * entered;
  if (told.speedup <= 0) return;
  CellPast& own = past[told.cell];
  const double speed = std::log(told.speedup);
  if (own.has_threshold && speed <= own.threshold) return;
  own.threshold = own.has_threshold ? 0.8 * own.threshold + 0.2 * speed : speed;
  own.has_threshold = true;
  own.accepted[told.id] = speed;
}

std::vector<Policy> policies() {
  const auto strategy = [](const char* name) {
    return Policy{name, [name](RunConfig& config) { config.strategy = name; }, {}};
  };
  const auto softness = [](const char* name, double value) {
    return Policy{name, [value](RunConfig& config) { config.softness = value; }, {}};
  };
  const auto scale = [](const char* name, double value) {
    return Policy{name, [value](RunConfig& config) { config.speed_scale = value; }, {}};
  };
  return {
      strategy("map-elites"),
      strategy("hill-climb"),
      strategy("best-of-n"),
      strategy("random"),
      softness("elites only (softness 0)", 0),
      softness("softness 2 %", 0.02),
      softness("all timed (softness 100 %)", 1),
      scale("speed_scale 1 %", 0.01),
      scale("speed_scale 10 %", 0.1),
      {"CMA-MAE threshold", {}, pick_threshold},
      {"greed 0.25, else uniform", {}, pick_greedy},
      {"uniform over elites",
       {},
       [](const SearchWorld& world, Past&, Rng& rng) {
         return draw_elite(world, rng, [](const Elite&) { return 1.0; });
       }},
      {"by rank of fitness", {}, pick_rank},
      {"curiosity of cells",
       {},
       [](const SearchWorld& world, Past& past, Rng& rng) {
         return draw_elite(world, rng, [&](const Elite& elite) { return past[elite.cell].curiosity; });
       }},
      {"improvement rate of cells",
       {},
       [](const SearchWorld& world, Past& past, Rng& rng) {
         return draw_elite(world, rng, [&](const Elite& elite) { return 0.02 + past[elite.cell].recent; });
       }},
      {"UCB over cells", {}, pick_ucb},
      {"two islands", [](RunConfig&) {}, {}, 2},
      {"four islands", [](RunConfig&) {}, {}, 4},
  };
}

struct Run {
  double evaluations = 0;  // to the goal, or the budget
  bool has_reached = false;
  double area = 0;  // mean of the best so far over the budget
  double duels = 0;
};

/// One variation in one world.
void vary(SearchWorld& world, Past& past, const Policy& policy, const RunConfig& config,
          const BenchOptions& options, std::uint64_t seed) {
  const std::uint64_t ordinal = world.next_ordinal();
  Rng select_rng = Rng::keyed(seed, ordinal, "select"), edit_rng = Rng::keyed(seed, ordinal, "edit");
  const std::string parent =
      policy.pick ? policy.pick(world, past, select_rng)
                  : select(world.grid(), world.choices(), config, select_rng)->parents.parent_id;
  const std::string cell = world.cell_of(parent);
  note(past, cell,
       world.submit(parent,
                    scripted_edit(world.landscape(), world.point_of(parent), options.rates, edit_rng)));
}

/// What the islands together would hand out: the elite with the highest fitness.
double reached_by(const std::vector<SearchWorld>& worlds) {
  const SearchWorld* best = &worlds.front();
  for (const SearchWorld& world : worlds)
    if (world.grid().best()->fitness > best->grid().best()->fitness) best = &world;
  return best->reached();
}

Run run_once(const Arena& arena, const BenchOptions& options, const Policy& policy, std::uint64_t seed) {
  RunConfig config;
  config.operators = {{"refine", 1}};
  if (policy.configure) policy.configure(config);
  std::vector<SearchWorld> worlds;
  std::vector<Past> pasts(static_cast<std::size_t>(policy.islands));
  for (int i = 0; i < policy.islands; ++i)
    worlds.emplace_back(arena, WorldSettings{.seed = seed + 7919 * static_cast<std::uint64_t>(i),
                                             .rule = {.looks_max = options.looks},
                                             .noise = options.noise});
  Run run{.evaluations = static_cast<double>(options.budget)};
  constexpr std::int64_t k_migration = 50;  // evaluations of an island between two visitors
  for (std::int64_t spent = 0; spent < options.budget;) {
    const std::size_t at = static_cast<std::size_t>(spent) % worlds.size();
    SearchWorld& world = worlds[at];
    const std::int64_t before = world.evaluations();
    if (worlds.size() > 1 && before > 0 && before % k_migration == 0) {
      const SearchWorld& from = worlds[(at + 1) % worlds.size()];
      const std::size_t point = from.point_of(from.grid().best()->candidate_id);
      world.submit(world.baseline_id(),
                   {.kind = EditKind::move, .point = point, .verdict = Verdict::passed()});
    } else {
      vary(world, pasts[at], policy, config, options, seed + 7919 * at);
    }
    const std::int64_t used = world.evaluations() - before;
    const double reached = reached_by(worlds);
    run.area += static_cast<double>(used) * reached / static_cast<double>(options.budget);
    spent += used;
    if (reached < k_goal || used == 0 || run.has_reached) continue;
    run.evaluations = static_cast<double>(spent);
    run.has_reached = true;
  }
  for (const SearchWorld& world : worlds)
    run.duels += static_cast<double>(world.duels()) / static_cast<double>(options.budget);
  return run;
}

}  // namespace

void run_policies(const BenchOptions& options, const std::vector<Arena>& arenas) {
  fmt::print("| policy |");
  for (const Arena& arena : arenas) fmt::print(" `{}` |", arena.landscape.name);
  fmt::print(" others need | reached | best so far | duels |\n| --- |");
  for (std::size_t i = 0; i < arenas.size() + 4; ++i) fmt::print(" --- |");
  fmt::print("\n");
  std::vector<std::vector<double>> first;
  int row = 0;
  for (const Policy& policy : policies()) {
    if (options.rows > 0 && row++ == options.rows) break;
    std::vector<std::vector<double>> evaluations;
    double reached = 0, area = 0, duels = 0;
    fmt::print("| {} |", policy.name);
    for (const Arena& arena : arenas) {
      std::vector<double>& of_arena = evaluations.emplace_back();
      std::vector<Run> runs(static_cast<std::size_t>(options.seeds));
      for_each_run(options, runs.size(), [&](std::size_t i) {
        runs[i] = run_once(arena, options, policy, options.first_seed + i);
      });
      for (const Run& run : runs) {
        of_arena.push_back(run.evaluations);
        const double share = 1 / static_cast<double>(arenas.size()) / options.seeds;
        reached += share * run.has_reached;
        area += share * run.area;
        duels += share * run.duels;
      }
      const Estimate estimate = bootstrap_median(of_arena);
      fmt::print(" {:.0f} ({:.0f}-{:.0f}) |", estimate.value, estimate.low, estimate.high);
    }
    if (first.empty()) first = evaluations;
    const Estimate ratio = bootstrap_ratio(evaluations, first);
    fmt::print(" {:.2f}x ({:.2f}-{:.2f}) | {:.0f} % | {:.1f} % | {:.2f} |\n", ratio.value, ratio.low,
               ratio.high, 100 * reached, 100 * area, duels);
    std::fflush(stdout);
  }
}

}  // namespace kernelites
