// SPDX-License-Identifier: Apache-2.0
// What views are told of a run: thinned series, contracted ancestries, the way of proposals, a whole archive's facts.
#include "tools/inspect/run_facts.h"

#include <cmath>

#include "tests/support/catch.h"
#include "tests/support/large_run/large_run.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;

namespace {

std::vector<ProgressPoint> rising(std::size_t count, std::size_t every) {
  std::vector<ProgressPoint> points;
  for (std::size_t i = 0; i < count; ++i)
    points.push_back(
        {.evaluations = static_cast<std::int64_t>(i), .best = 1.0 + static_cast<double>(i / every)});
  return points;
}

BriefCandidate child_of(std::uint64_t ordinal, std::optional<std::uint64_t> parent) {
  return {
      .ordinal = ordinal, .parent = parent, .operator_name = parent ? "refine" : "seed", .outcome = "added"};
}

const FunnelStep& step_named(const std::vector<FunnelStep>& steps, const std::string& name) {
  for (const FunnelStep& step : steps)
    if (step.step == name) return step;
  throw std::runtime_error("no step " + name);
}

}  // namespace

TEST_CASE("a short series is kept as it is") { CHECK(thinned(rising(40, 5), 40).size() == 40); }

TEST_CASE("a long series keeps its ends and every step of the best") {
  const auto points = rising(10'000, 1000);
  const auto left = thinned(points, 100);
  CHECK(left.size() <= 100);
  CHECK(left.front().evaluations == 0);
  CHECK(left.back().evaluations == 9999);
  for (std::size_t i = 1; i < left.size(); ++i)
    if (left[i].best != left[i - 1].best) CHECK(left[i].evaluations % 1000 == 0);
}

TEST_CASE("a series that rises everywhere is thinned all the same") {
  CHECK(thinned(rising(10'000, 1), 100).size() <= 101);
}

TEST_CASE("ancestry ends where nobody descends to a winner") {
  const auto nodes = lineage_of({child_of(1, {}), child_of(2, 1), child_of(3, 1), child_of(4, 2)}, {4}, 10);
  REQUIRE(nodes.size() == 3);  // 3 leads nowhere
  CHECK(nodes[0].ordinal == 1);
  CHECK(nodes[2].parent == 2u);
  CHECK(nodes[2].skipped == 0);
}

TEST_CASE("a long line between roots, forks and winners is contracted and says by how many") {
  std::vector<BriefCandidate> candidates{child_of(1, {})};
  for (std::uint64_t i = 2; i <= 200; ++i) candidates.push_back(child_of(i, i - 1));
  candidates.push_back(child_of(201, 100));
  const auto nodes = lineage_of(candidates, {200, 201}, 50);
  REQUIRE(nodes.size() == 4);  // the root, the fork at 100, two winners
  CHECK(nodes[1].ordinal == 100);
  CHECK(nodes[1].parent == 1u);
  CHECK(nodes[1].skipped == 98);
  CHECK(nodes[3].parent == 100u);
  CHECK(nodes[3].skipped == 0);
}

TEST_CASE("an ancestry of too many forks shows the newest") {
  std::vector<BriefCandidate> candidates{child_of(1, {})};
  std::set<std::uint64_t> winners;
  for (std::uint64_t i = 2; i <= 300; ++i) candidates.push_back(child_of(i, i - 1)), winners.insert(i);
  const auto nodes = lineage_of(candidates, winners, 80);
  CHECK(nodes.size() == 80);
  CHECK(nodes.back().ordinal == 300);
  CHECK(!nodes.front().parent);
}

TEST_CASE("whoever ends at a step does not reach the next") {
  BriefRows brief;
  brief.rejections = {{"no_code_block", 4}};
  brief.outcomes = {{"failed", 5}, {"duplicate_code", 2}, {"tie", 6},
                    {"added", 2},  {"improved", 1},       {"unfinished", 1}};
  brief.failures = {{"check", "numerical_mismatch", 3}, {"compile", "compile_error", 2}};
  const auto steps = funnel_of(brief);
  CHECK(steps.front().step == "reply");
  CHECK(steps.front().reached == 21);
  CHECK(step_named(steps, "compile").reached == 17);
  CHECK(step_named(steps, "duplicate").reached == 15);
  CHECK(step_named(steps, "check").ended == 3);
  CHECK(step_named(steps, "placing").reached == 9);
  CHECK(step_named(steps, "elite").reached == 3);
}

TEST_CASE("a failure at a stage of another version is counted") {
  BriefRows brief;
  brief.outcomes = {{"failed", 1}};
  brief.failures = {{"a_new_stage", "why", 1}};
  CHECK(step_named(funnel_of(brief), "a_new_stage").ended == 1);
}

TEST_CASE("the facts of a run agree with its archive") {
  const TemporaryFolder folder;
  write_large_run(folder.path(),
                  {.data = KERNELITES_SOURCE_DIR, .variations = 200, .is_small = true, .text = {}});
  const RunFacts facts = run_facts(folder.path().string());
  const Archive archive = Archive::open_read_only(folder.path());
  const Grid grid = archive.grid();
  REQUIRE(facts.best);
  REQUIRE(facts.baseline);

  // The headline is the grid's best, with the interval of the duel that decided.
  CHECK(facts.best->ordinal == grid.best()->ordinal);
  CHECK(facts.best->speedup == grid.best()->speedup);
  REQUIRE(facts.best->over_baseline);
  CHECK(std::abs(facts.best->over_baseline->x - facts.best->speedup) < 1e-6);
  CHECK(facts.best->over_baseline->low < facts.best->speedup);
  CHECK(facts.best->over_baseline->high > facts.best->speedup);
  CHECK(facts.best->times.size() == facts.workloads.size());
  // Every axis of the best is told in words, and why it is faster by its way from a seed.
  CHECK(facts.best_words.size() >= facts.axes.size());
  REQUIRE(!facts.best_chain.empty());
  CHECK(facts.best_chain.back().change.after.record.ordinal == facts.best->ordinal);
  const Json json = run_facts_json(facts);
  REQUIRE(!json.at("why").empty());
  CHECK(!json.at("why").back().at("workload").get<std::string>().empty());
  CHECK(json.at("model_error").is_null());  // its times are measured
  // Every elite is there, and its line leads to a seed.
  CHECK(facts.elites.size() == grid.elite_count());
  REQUIRE(!facts.reasons.steps.empty());
  CHECK(facts.reasons.steps.front().operator_name == "seed");
  CHECK(facts.reasons.steps.back().ordinal == facts.best->ordinal);
  // The funnel counts what was told and what was refused.
  CHECK(facts.funnel.front().reached == facts.counters.told + facts.counters.rejections);
  CHECK(facts.funnel.back().step == "elite");
  // The series ends as the grid is.
  CHECK(facts.progress.back().best == facts.metrics.obj_max);
  CHECK(facts.progress.back().num_elites == grid.elite_count());
}

TEST_CASE("the facts of a run are of the instant at which it was opened") {
  const TemporaryFolder folder;
  const LargeRun some{.data = KERNELITES_SOURCE_DIR, .variations = 30, .is_small = true, .text = {}};
  write_large_run(folder.path(), some);
  RunInstant instant = hold_run(folder.path().string());
  const RunFacts before = run_facts(instant, folder.path().string());
  {
    Archive writer = Archive::open(folder.path());
    writer.append_event({{"event", "asked"}});
    writer.withdraw_elite(before.best->cell, "disproved");
    writer.set_state("running");
  }
  const RunFacts held = run_facts(instant, folder.path().string());
  CHECK(held.last_event == before.last_event);
  CHECK(held.elites.size() == before.elites.size());
  CHECK(held.run.state == before.run.state);
  const RunFacts now = run_facts(folder.path().string());
  CHECK(now.elites.size() + 1 == before.elites.size());
  CHECK(now.run.state == "running");
}
