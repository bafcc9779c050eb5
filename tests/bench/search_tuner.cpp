// SPDX-License-Identifier: Apache-2.0
// Experiment `tuner`: evaluations until the elite, and until every workload's champion, is within 1 % of the best.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include <numbers>
#include <numeric>
#include <set>

#include "engine/core/statistics.h"
#include "engine/search/parent_policy.h"
#include "engine/variation/halving.h"
#include "engine/variation/tune_search.h"
#include "tests/bench/search_experiments.h"

namespace kernelites {
namespace {

constexpr double k_goal = 0.99;
constexpr int k_rounds = 60;  ///< of a duel in the world, whose noise is that of the landscape

/// One search: what was examined, and what is known of it.
struct TunerRun {
  const Arena& arena;
  SearchWorld world;
  std::set<Tuning> known;
  std::vector<TunedPoint> tried;
  std::int64_t evaluations = 0;
  double rounds = 0;  ///< arms times rounds of races, which the world does not know of
};

using TuningStrategy = std::function<bool(TunerRun&, Rng&)>;  ///< one step; false: nothing is left

std::map<std::string, double> weights_of(const Landscape& landscape) {
  std::map<std::string, double> weights;
  for (const std::string& workload : landscape.workloads) weights[workload] = 1;
  return weights;
}

void submit(TunerRun& run, const Tuning& tuning, const std::string& parent_id) {
  const Landscape& landscape = run.arena.landscape;
  const std::size_t point = landscape.point_of(tuning);
  const LandscapePoint& measured = landscape.points[point];
  const Verdict verdict =
      measured.is_passed() ? Verdict::passed() : Verdict::failed(measured.stage, measured.reason, "");
  const Told told = run.world.submit(parent_id, {.kind = EditKind::move, .point = point, .verdict = verdict});
  run.tried.push_back({.tuning = tuning, .is_passed = told.is_passed, .log_speedup = told.log_speedup_at});
}

/// As in a run.
Parents parent_of(const TunerRun& run, Rng& rng) {
  static const OperatorRow k_row{.name = "tune"};
  return *choose_parents(k_row, run.world.grid(), run.world.choices(), RunConfig{}, rng);
}

bool sweep(TunerRun& run, Rng& rng) {
  const Landscape& landscape = run.arena.landscape;
  std::vector<std::size_t> left;
  for (std::size_t point = 0; point < landscape.points.size(); ++point)
    if (!run.known.contains(landscape.tuning(point))) left.push_back(point);
  if (left.empty()) return false;
  const Tuning tuning = landscape.tuning(left[rng.below(left.size())]);
  run.known.insert(tuning);
  submit(run, tuning, parent_of(run, rng).parent_id);
  ++run.evaluations;
  return true;
}

/// The tuner before this one: any untried neighbour of the parent, in a quarter of the draws one of two changes.
bool climb(TunerRun& run, Rng& rng) {
  const Landscape& landscape = run.arena.landscape;
  const std::string parent = parent_of(run, rng).parent_id;
  const Tuning from = landscape.tuning(run.world.point_of(parent));
  const bool is_pair_first = rng.uniform() < 0.25;
  for (const int changes : {is_pair_first ? 2 : 1, is_pair_first ? 1 : 2}) {
    std::vector<Tuning> choices = neighbours(landscape.tunables, from, changes, 4096);
    std::erase_if(choices, [&](const Tuning& choice) { return run.known.contains(choice); });
    if (choices.empty()) continue;
    const Tuning tuning = choices[rng.below(choices.size())];
    run.known.insert(tuning);
    submit(run, tuning, parent);
    ++run.evaluations;
    return true;
  }
  return sweep(run, rng);
}

bool model(TunerRun& run, Rng& rng) {
  const Landscape& landscape = run.arena.landscape;
  const std::string parent = parent_of(run, rng).parent_id;
  const TuneState state{.tunables = landscape.tunables,
                        .rules = {},
                        .start = landscape.tuning(run.world.point_of(parent)),
                        .tried = run.tried,
                        .weights = weights_of(landscape),
                        .is_known = [&](const Tuning& tuning) { return run.known.contains(tuning); }};
  const auto proposal = next_tuning(state, rng);
  if (!proposal) return sweep(run, rng);
  run.known.insert(proposal->tuning);
  submit(run, proposal->tuning, parent);
  ++run.evaluations;
  return true;
}

double normal_draw(Rng& rng) {
  return std::sqrt(-2 * std::log(1 - rng.uniform())) * std::cos(2 * std::numbers::pi * rng.uniform());
}

/// Sequential halving: `count` random untried choices (the first time of all, then of the parent's neighbours) are
/// examined and raced, with ever more rounds for ever fewer; the winner goes into the world.
bool halve(TunerRun& run, Rng& rng, std::size_t count) {
  const Landscape& landscape = run.arena.landscape;
  const std::string parent = parent_of(run, rng).parent_id;
  const Tuning from = landscape.tuning(run.world.point_of(parent));
  std::vector<Tuning> choices;
  if (run.evaluations > 0)
    for (const int changes : {1, 2})
      for (Tuning& choice : neighbours(landscape.tunables, from, changes, 4096)) choices.push_back(choice);
  else
    for (std::size_t point = 1; point < landscape.points.size(); ++point)
      choices.push_back(landscape.tuning(point));
  std::erase_if(choices, [&](const Tuning& choice) { return run.known.contains(choice); });
  if (choices.empty()) return sweep(run, rng);
  rng.shuffle(choices);
  choices.resize(std::min(choices.size(), count));
  std::vector<Tuning> arms;
  for (const Tuning& choice : choices) {
    run.known.insert(choice);
    ++run.evaluations;
    if (landscape.points[landscape.point_of(choice)].is_passed()) arms.push_back(choice);
  }
  if (arms.empty()) return true;
  Halving halving(arms.size(), k_rounds);
  while (const auto heat = halving.next()) {
    const double sd = run.arena.noise / (0.6745 * std::numbers::sqrt2) *
                      std::sqrt(static_cast<double>(k_rounds) / heat->rounds);
    std::map<std::size_t, std::map<std::string, double>> results;
    for (const std::size_t arm : heat->arms) {
      const double speed = std::log(landscape.speedup(landscape.point_of(arms[arm])));
      results[arm] = {{"", speed + sd * normal_draw(rng)}};
      run.rounds += heat->rounds;
    }
    halving.tell(results);
  }
  submit(run, arms[halving.winner()], parent);
  return true;
}

struct Reached {
  double elite = 0, champions = 0, rounds = 0;
};

Reached reach(const Arena& arena, const BenchOptions& options, std::uint64_t seed,
              const TuningStrategy& step) {
  TunerRun run{.arena = arena,
               .world = SearchWorld(
                   arena, {.seed = seed, .rule = {.looks_max = options.looks}, .noise = options.noise}),
               .known = {arena.landscape.tuning(0)},
               .tried = {}};
  run.tried.push_back({.tuning = arena.landscape.tuning(0), .is_passed = true});
  for (const std::string& workload : arena.landscape.workloads) run.tried[0].log_speedup[workload] = 0;
  Reached reached;
  Rng rng = Rng::keyed(seed, 1, "tuner");
  while (reached.elite == 0 || reached.champions == 0) {
    const bool is_over = run.evaluations >= options.budget || !step(run, rng);
    const auto now = static_cast<double>(is_over ? options.budget : run.evaluations);
    const double rounds = run.rounds + 2.0 * k_rounds * static_cast<double>(run.world.duels());
    if (reached.elite == 0 && (is_over || run.world.reached() >= k_goal)) {
      reached.elite = now;
      reached.rounds = rounds;
    }
    if (reached.champions == 0 && (is_over || run.world.has_champions(k_goal))) reached.champions = now;
  }
  return reached;
}

}  // namespace

void run_tuner(const BenchOptions& options, const std::vector<Arena>& arenas) {
  const std::vector<std::pair<const char*, TuningStrategy>> strategies{
      {"random sweep", sweep},
      {"halving, 8 arms", [](TunerRun& run, Rng& rng) { return halve(run, rng, 8); }},
      {"halving, 32 arms", [](TunerRun& run, Rng& rng) { return halve(run, rng, 32); }},
      {"random neighbour", climb},
      {"model and workloads", model}};
  std::vector<std::vector<double>> base_elite, base_champions;
  for (const auto& [name, strategy] : strategies) {
    std::vector<std::vector<double>> elite, champions;
    std::vector<double> all_rounds;
    std::string row;
    for (const Arena& arena : arenas) {
      elite.emplace_back();
      champions.emplace_back();
      std::vector<double> rounds;
      std::vector<Reached> runs(static_cast<std::size_t>(options.seeds));
      for_each_run(options, runs.size(), [&, &strategy = strategy](std::size_t i) {
        runs[i] = reach(arena, options, options.first_seed + i, strategy);
      });
      for (const Reached& reached : runs) {
        elite.back().push_back(reached.elite);
        champions.back().push_back(reached.champions);
        rounds.push_back(reached.rounds);
      }
      row += fmt::format(" {:.0f} / {:.0f} |", median(elite.back()), median(champions.back()));
      all_rounds.push_back(std::log(median(rounds)));
    }
    if (base_elite.empty()) {
      base_elite = elite;
      base_champions = champions;
    }
    const Estimate gain = bootstrap_ratio(base_elite, elite),
                   more = bootstrap_ratio(base_champions, champions);
    fmt::print("| {} |{} {:.1f} ({:.1f}-{:.1f}) | {:.1f} ({:.1f}-{:.1f}) | {:.0f} |\n", name, row, gain.value,
               gain.low, gain.high, more.value, more.low, more.high,
               std::exp(std::accumulate(all_rounds.begin(), all_rounds.end(), 0.0) /
                        static_cast<double>(all_rounds.size())));
  }
}

}  // namespace kernelites
