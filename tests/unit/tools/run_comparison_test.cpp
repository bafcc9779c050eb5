// SPDX-License-Identifier: Apache-2.0
// Comparing runs: what is a repetition, what is refused, and what the intervals say.
#include "tools/run_comparison.h"

#include <sstream>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/unit/search/search_rig.h"
#include "tools/command_line.h"

using namespace kernelites;

namespace {

/// A curve that rises by `step` with every evaluation from 1 on.
ComparedRun rising(const std::string& folder, double step, int length = 10,
                   const std::string& strategy = "elites") {
  ComparedRun run{.folder = folder,
                  .task = "t",
                  .task_digest = "d",
                  .device = "gpu",
                  .axes = "movement",
                  .configuration = {{"strategy", strategy}}};
  for (int i = 0; i <= length; ++i) run.progress.push_back({i, 1 + step * i, 1, 0.1, 2 + step * i});
  for (const int at : {0, 4, 8})
    if (at <= length) run.leads.push_back({at, {.ordinal = static_cast<std::uint64_t>(1 + at)}});
  run.best = run.leads.back().kernel;
  return run;
}

void check_refused(ComparedRun other, const std::string& word) {
  try {
    compare_runs({rising("first", 0.1), std::move(other)});
    FAIL("nothing was refused");
  } catch (const ConfigError& error) {
    INFO(error.what());
    CHECK(std::string(error.what()).find(word) != std::string::npos);
    CHECK(std::string(error.what()).find("first") != std::string::npos);
  }
}

}  // namespace

TEST_CASE("runs of another task, device, clock or grid are refused by name") {
  ComparedRun other = rising("other", 0.1);
  other.task = "another";
  check_refused(other, "task");
  other = rising("other", 0.1);
  other.task_digest = "e";
  check_refused(other, "digest");
  other = rising("other", 0.1);
  other.device = "vgpu";
  check_refused(other, "device");
  other = rising("other", 0.1);
  other.is_modelled = true;
  check_refused(other, "modelled");
  other = rising("other", 0.1);
  other.axes = "split";
  check_refused(other, "axes");
}

TEST_CASE("runs are compared up to the shortest, or as far as is asked") {
  const std::vector<ComparedRun> runs{rising("a", 0.1, 10), rising("b", 0.1, 6)};
  CHECK(compare_runs(runs).evaluations == 6);
  CHECK(compare_runs(runs).groups.front().end.best.value == Approx(1.6));
  CHECK(compare_runs(runs, 4).groups.front().end.best.value == Approx(1.4));
  CHECK_THROWS_AS(compare_runs(runs, 7), ConfigError);
  CHECK_THROWS_AS(compare_runs({}), ConfigError);
}

TEST_CASE(
    "the best is the one of the last common evaluation, and what a longer run found later stands apart") {
  const std::vector<ComparedRun> runs{rising("long", 0.1, 10), rising("short", 0.05, 6)};
  const Comparison comparison = compare_runs(runs);
  const ComparedGroup& group = comparison.groups.front();
  CHECK(group.best.ordinal == 5);  // the long run's after 6 evaluations
  CHECK(group.best_run == "long");
  REQUIRE(group.later);
  CHECK(group.later->kernel.ordinal == 9);
  CHECK(group.later->evaluations == 8);
  CHECK(group.later->best == Approx(2));
  const Json json = Json(comparison).at("groups").at(0);
  CHECK(json.at("later_best").at("run") == "long");
  CHECK(json.at("lengths").at(0).at("evaluations") == 10);
  CHECK(compare_runs(runs, 3).groups.front().best.ordinal == 1);
  const std::vector<ComparedRun> alike{rising("a", 0.1, 6), rising("b", 0.1, 6)};
  CHECK_FALSE(compare_runs(alike).groups.front().later);
}

TEST_CASE("runs that did the same steps count once, the longest of them") {
  ComparedRun part = rising("part", 0.1, 4), whole = rising("whole", 0.1), copy = rising("copy", 0.1),
              other = rising("other", 0.2);
  whole.told = copy.told = {"seed", "a", "b", "c"};
  part.told = {"seed", "a"};
  other.told = {"seed", "b", "a"};
  whole.started_unix_s = copy.started_unix_s = 7;
  part.started_unix_s = 5;
  const Comparison comparison = compare_runs({part, whole, copy, other});
  REQUIRE(comparison.groups.size() == 1);
  CHECK(comparison.groups.front().runs == std::vector<std::string>{"whole", "other"});
  CHECK(comparison.evaluations == 10);
  REQUIRE(comparison.repeats.size() == 2);
  CHECK((comparison.repeats[0].folder == "part" && comparison.repeats[0].of == "whole"));
  CHECK_FALSE(comparison.repeats[0].is_copy);
  CHECK((comparison.repeats[1].folder == "copy" && comparison.repeats[1].is_copy));
  copy.seed = 2;  // chance decided alike twice, which it may
  CHECK(compare_runs({whole, copy}).repeats.empty());
}

TEST_CASE("an elite that was withdrawn was never its run's best") {
  SearchRig rig;
  FakeEvaluator evaluator;
  FakeModel model;
  rig.run(evaluator, &model);
  const std::string folder = rig.folder.path().string();
  const ComparedRun before = compared_run(folder);
  REQUIRE(before.leads.size() > 1);
  CHECK(before.leads.back().kernel.ordinal == before.best.ordinal);
  {
    Archive archive = rig.open();
    archive.withdraw_elite(archive.grid().best()->cell, "disproved");
  }
  const ComparedRun after = compared_run(folder);
  for (const Lead& lead : after.leads) CHECK(lead.kernel.ordinal != before.best.ordinal);
  REQUIRE(!after.leads.empty());
  CHECK(after.best.ordinal == after.leads.back().kernel.ordinal);
  CHECK(!after.best.time_us.empty());
  CHECK(after.progress.back().best < before.progress.back().best);
}

TEST_CASE("runs of one configuration are repetitions, and others a group with what differs") {
  const Comparison comparison = compare_runs(
      {rising("a", 0.1), rising("b", 0.3), rising("c", 0.1, 10, "climb"), rising("d", 0.2, 10, "climb")});
  REQUIRE(comparison.groups.size() == 2);
  const ComparedGroup& first = comparison.groups[0];
  const ComparedGroup& second = comparison.groups[1];
  CHECK(first.runs == std::vector<std::string>{"a", "b"});
  CHECK(first.differences.empty());
  CHECK(second.differences == Json{{"strategy", "climb"}});
  CHECK(first.end.best.value == Approx(3));
  CHECK(*first.end.best.low == Approx(2));  // of two runs the interval is from one to the other
  CHECK(*first.end.best.high == Approx(4));
  CHECK(first.best_area.value == Approx(1 + 0.2 * 5.5));  // mean over evaluations 1 to 10
  CHECK(second.best_area_ratio->value == Approx((1 + 0.15 * 5.5) / (1 + 0.2 * 5.5)));
  CHECK(*second.best_area_ratio->low < second.best_area_ratio->value);
  CHECK(first.qd_area_ratio->value == 1);
  CHECK(first.curve.front().evaluations == 0);
  CHECK(first.curve.back().evaluations == 10);
}

TEST_CASE("one run has no interval, and the same runs always have the same one") {
  const std::vector<ComparedRun> one{rising("a", 0.1)};
  CHECK_FALSE(compare_runs(one).groups.front().end.best.low);
  CHECK(Json(compare_runs(one)).at("groups").at(0).at("end").at("best").at("low").is_null());
  const std::vector<double> samples{1, 2, 4, 8};
  CHECK(bootstrap_mean(samples) == bootstrap_mean(samples));
  CHECK(*bootstrap_mean(samples).low > 1);
  CHECK(*bootstrap_mean(samples).high < 8);
  CHECK(bootstrap_ratio_of_means(samples, samples).value == 1);
}

namespace {

/// The newcomer's case: B began with a slower seed and found the kernel that A has.
std::vector<ComparedRun> over_two_baselines(bool is_modelled) {
  ComparedRun a = rising("a", 0), b = rising("b", 0.1, 10, "climb");
  for (ComparedRun* run : {&a, &b}) {
    run->is_modelled = is_modelled;
    run->weights = {{"w", 1}};
    run->best = {.ordinal = 3, .code = "fast", .time_us = {{"w", 50}}};
  }
  a.baseline = a.best;
  b.baseline = {.ordinal = 1, .code = "slow", .time_us = {{"w", 100}}};
  return {a, b};  // b ends at 2 times its own baseline
}

}  // namespace

TEST_CASE("modelled speed-ups over different baselines are told over the first run's") {
  const Comparison comparison = compare_runs(over_two_baselines(true));
  const ComparedGroup& other = comparison.groups.at(1);
  CHECK(other.basis == Basis::model);
  CHECK(other.end.best.value == Approx(1));  // twice a baseline that takes twice as long
  CHECK(other.curve.front().best.value == Approx(0.5));
  REQUIRE(other.best_area_ratio);
  CHECK(other.best_area_ratio->value < 1);
  CHECK(is_one_kernel(other.best, comparison.groups.front().best));
  CHECK(Json(comparison).at("groups").at(1).at("is_best_of_first") == true);
}

TEST_CASE(
    "measured speed-ups over different baselines, and those of another harness, are not set against each "
    "other") {
  std::vector<ComparedRun> runs = over_two_baselines(false);
  const Comparison measured = compare_runs(runs);
  CHECK(measured.groups.at(1).basis == Basis::none);
  CHECK(measured.groups.at(1).end.best.value == Approx(2));
  CHECK_FALSE(measured.groups.at(1).best_area_ratio);
  CHECK(Json(measured).at("groups").at(1).at("qd_area_ratio").is_null());
  runs = over_two_baselines(true);
  runs[1].model_key = "another";  // the model saw other inputs and blocks
  CHECK(compare_runs(runs).groups.at(1).basis == Basis::none);
  CHECK_FALSE(compare_runs(runs).has_one_model_key);
  runs[1].model_key = runs[0].model_key;
  runs[1].harness_version = "another";
  CHECK(compare_runs(runs).groups.at(1).basis == Basis::none);
  CHECK_FALSE(compare_runs(runs).has_one_harness);
  runs[1].baseline.code = runs[0].baseline.code;
  CHECK(compare_runs(runs).groups.at(1).basis == Basis::same);
}

TEST_CASE("one text is one kernel, though runs that draw other shapes compile other instances of it") {
  std::vector<ComparedRun> runs = over_two_baselines(false);
  runs[0].baseline.id = runs[1].baseline.id = "text";
  const Comparison comparison = compare_runs(runs);
  CHECK(comparison.groups.at(1).basis == Basis::same);
  CHECK(comparison.groups.at(1).best_area_ratio);
  CHECK_FALSE(is_one_kernel({.id = "text", .code = "a"}, {.id = "other", .code = "b"}));
}

TEST_CASE("a kernel whose code is not known is no other kernel's like") {
  CHECK_FALSE(is_one_kernel({}, {}));
  CHECK_FALSE(ratio_by_times({.time_us = {{"w", 1}}}, {}, {{"w", 1}}));
}

TEST_CASE("recorded runs are read, compared and printed") {
  SearchRig rigs[2];
  std::vector<std::string> arguments{"compare"};
  for (SearchRig& rig : rigs) {
    rig.config.seed = 1 + static_cast<std::uint64_t>(&rig - rigs);
    FakeEvaluator evaluator;
    FakeModel model;
    rig.run(evaluator, &model);
    arguments.push_back(rig.folder.path().string());
  }
  const auto call = [&](std::vector<std::string> words) {
    std::ostringstream out, err;
    Program program{.out = out, .err = err, .executable = {}};
    const int code = run_program(words, program);
    CHECK(code == 0);
    return out.str();
  };
  const std::string text = call(arguments);
  CHECK(text.find("A: 2 runs") != std::string::npos);
  CHECK(text.find("QD score") != std::string::npos);
  CHECK(text.find("baseline #1 seed fast.cu") != std::string::npos);
  CHECK(text.find("best kernel of") != std::string::npos);
  CHECK(text.find("random seed") == std::string::npos);
  const std::string copy = rigs[0].folder.path().string() + "-copy";
  std::filesystem::copy(rigs[0].folder.path(), copy, std::filesystem::copy_options::recursive);
  SearchRig early;  // no model: it ends when its tunables are swept
  FakeEvaluator evaluator;
  early.run(evaluator, nullptr);
  std::vector<std::string> more = arguments;
  more.insert(more.end(), {copy, early.folder.path().string()});
  const std::string told = call(more);
  std::filesystem::remove_all(copy);
  CHECK_THAT(told, Catch::Contains(copy + " did, by the same random seed, the same steps as " +
                                   rigs[0].folder.path().string() + ": it is counted once"));
  CHECK_THAT(told, Catch::Contains("A: 3 runs") && Catch::Contains("; ended exhausted after ") &&
                       Catch::Contains("12 evaluations, of which ") &&
                       Catch::Contains("have one random seed (1)"));
  arguments.push_back("--json");
  const Json json = Json::parse(call(arguments));
  CHECK(json.at("groups").at(0).at("n") == 2);
  CHECK(json.at("evaluations") == 12);
  const double best = json.at("groups").at(0).at("end").at("best").at("value");
  double mean = 0;
  for (SearchRig& rig : rigs) mean += rig.open().grid().best()->fitness / 2;
  CHECK(best == Approx(mean));
}
