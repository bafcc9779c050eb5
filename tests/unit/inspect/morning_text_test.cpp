// SPDX-License-Identifier: Apache-2.0
// The page in the morning: what it tells of a run, and what it advises.
#include "tools/inspect/morning_text.h"

#include <sstream>

#include "tests/support/catch.h"
#include "tests/unit/inspect/two_kernels.h"
#include "tools/inspect/screen_text.h"

using namespace kernelites;

namespace {

/// `count` candidates that fail at stage check, from ordinal `first` on, and one reply that held none.
void add_failures(const std::filesystem::path& folder, std::uint64_t first, int count) {
  Archive archive = Archive::open(folder);
  const std::string seed = archive.candidate(1)->id;
  for (std::uint64_t ordinal = first; ordinal < first + static_cast<std::uint64_t>(count); ++ordinal) {
    add_candidate(archive, ordinal, {seed});
    Examination failed = sample_examination(ordinal);
    failed.verdict = Verdict::failed("check", "wrong_values", "some rows are wrong");
    examine(archive, ordinal, failed);
    archive.tell({.ordinal = ordinal, .status = "failed", .elite = {}, .champions = {}, .told_unix_s = 2});
  }
  const std::uint64_t refused = first + static_cast<std::uint64_t>(count);
  archive.record_variation(sample_variation(refused, {seed}));
  archive.record_rejection({.ordinal = refused, .reason = "no_code_block", .message = "no code"});
}

bool advises(const MorningFacts& facts, const std::string& command) {
  for (const Advice& advice : next_steps(facts))
    if (advice.command.find(command) != std::string::npos) return true;
  return false;
}

/// So wide that no sentence is broken.
std::string wide_text(const MorningFacts& facts) { return morning_text(facts, 4000); }

}  // namespace

TEST_CASE("failures are grouped by cause, operator and endpoint, the most frequent first") {
  const TemporaryFolder folder;
  record_two_kernels(folder.path(), {});
  add_failures(folder.path(), 10, 3);
  Database database(folder.database(), Database::Mode::read_only);
  const std::vector<FailureGroup> groups = failure_groups(database);
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].stage == "check");
  CHECK(groups[0].reason == "wrong_values");
  CHECK(groups[0].operator_name == "refine");
  CHECK(groups[0].endpoint == "replay");
  CHECK(groups[0].count == 3);
  CHECK(groups[0].newest == 12);
  CHECK(groups[1].stage == "reply");
  CHECK(groups[1].reason == "no_code_block");
}

TEST_CASE("the page tells the best, why, what failed, the head-room and what to do") {
  const TemporaryFolder folder;
  record_two_kernels(folder.path(), {});
  add_failures(folder.path(), 10, 3);
  const MorningFacts facts = morning_facts(folder.path().string());
  const std::string text = morning_text(facts, 100);
  CHECK(text.find("The best is #2 (shared/fma/tile), 1.250x") != std::string::npos);
  CHECK(text.find("#1 -> #2 refine: 1.250x") != std::string::npos);
  CHECK(text.find("check  wrong_values") != std::string::npos);
  CHECK(text.find("memory") != std::string::npos);
  for (const char* title : {"WHAT WAS TRIED", "WHY THE BEST IS FASTER", "WHAT FAILED REPEATEDLY",
                            "HEAD-ROOM TO THE ROOFLINE", "SPENT", "WHAT TO DO NEXT"})
    CHECK(text.find(title) != std::string::npos);
  CHECK(std::count(text.begin(), text.end(), '\n') <= 60);
  CHECK(advises(facts, "kernelites show " + folder.path().string() + " 12"));  // most variations ended there
  CHECK(advises(facts, "--endpoint openai:MODEL"));                            // no model took part
  CHECK(advises(facts, "kernelites profile best.cu --task rmsnorm"));          // no counters
}

TEST_CASE("a run of recorded replies is advised to go on with a model, another with a larger budget") {
  const TemporaryFolder folder;
  record_two_kernels(folder.path(), {});
  MorningFacts facts = morning_facts(folder.path().string());
  facts.run.end.state = "stopped";
  facts.run.spent.model_calls = 1;
  facts.run.run.configuration["endpoint"] = {{"kind", "openai"}};
  CHECK(advises(facts, " --budget-candidates "));
  CHECK_FALSE(advises(facts, "--endpoint"));
  facts.run.run.configuration["endpoint"] = {{"kind", "replay"}};
  CHECK(advises(facts, " --endpoint openai:MODEL --budget-usd 5 --budget-candidates "));
}

TEST_CASE("modelled times are called modelled, and a GPU is advised") {
  TwoKernels two;
  two.is_measured = false;
  const TemporaryFolder folder;
  record_two_kernels(folder.path(), two);
  const MorningFacts facts = morning_facts(folder.path().string());
  CHECK(morning_text(facts, 100).find("modelled and not measured") != std::string::npos);
  CHECK(advises(facts, "--source > best.cu && kernelites evaluate best.cu --task rmsnorm --device gpu"));
}

TEST_CASE("a modelled gain is told with what the model is off, and without an interval") {
  TwoKernels two;
  two.is_measured = false;
  const TemporaryFolder folder;
  record_two_kernels(folder.path(), two);
  MorningFacts facts = morning_facts(folder.path().string());
  facts.run.model_error = ModelError{.task = "rmsnorm", .times = 17, .mean_abs_log = 0.3};
  const std::string text = wide_text(facts);
  CHECK(text.find("off by 35 % on average for this task (17 times on an H100); of 106 pairs of kernels that "
                  "it puts 1.15 "
                  "to 1.5 times apart, an H100 found the same one faster in at most 94 %.") !=
        std::string::npos);
  CHECK(text.find("interval") == std::string::npos);
  CHECK(text.find("; at wide 100.00 us -> 80.00 us") != std::string::npos);
  CHECK(text.find("cannot be told") == std::string::npos);
  facts.run.best->times.front().over_baseline->x = 1.1;
  CHECK(wide_text(facts).find("; it cannot tell the gain from none at wide (1.100x).") != std::string::npos);
  facts.run.best->speedup = 1.02;
  CHECK(wide_text(facts).find("faster in at most 55 %: a gain of 2.0 % cannot be told from none by it.") !=
        std::string::npos);
}

TEST_CASE("advice leads to what is there: no way of a seed, no prompt where no model took part") {
  TwoKernels two;
  std::swap(two.seed_us, two.child_us);
  const TemporaryFolder folder;
  record_two_kernels(folder.path(), two);
  MorningFacts facts = morning_facts(folder.path().string());
  facts.failures = {
      {.stage = "reply", .reason = "tune_exhausted", .operator_name = "tune", .count = 9, .newest = 7}};
  for (WorkloadFacts& workload : facts.run.workloads) workload.floor_us = 1;
  facts.run.workloads.front().champion->ordinal = 1;
  CHECK(advises(facts, "kernelites show " + folder.path().string() + " 1"));
  CHECK(!advises(facts, "kernelites explain " + folder.path().string() + " 1"));
  CHECK(!advises(facts, "--prompt"));
}

TEST_CASE("a run without a proven candidate has a page too") {
  const TemporaryFolder folder;
  RunRecord run = sample_run();
  run.task_document = small_task_document();
  { Archive::create(folder.path(), run); }
  const MorningFacts facts = morning_facts(folder.path().string());
  CHECK(morning_text(facts, 80).find("No candidate has been proven yet") != std::string::npos);
  CHECK(advises(facts, "kernelites log"));
}
