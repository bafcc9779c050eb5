// SPDX-License-Identifier: Apache-2.0
// What differs between two candidates, and how it is shown.
#include "tools/inspect/candidate_change.h"

#include <sstream>

#include "tests/support/catch.h"
#include "tests/unit/inspect/two_kernels.h"
#include "tools/inspect/change_text.h"
#include "tools/inspect/screen_text.h"

using namespace kernelites;

namespace {

LaunchPlan plan_with_blocks(std::uint32_t blocks, std::int64_t workspace) {
  LaunchPlan plan;
  plan.launches.push_back({.kernel = "rows<64>", .grid = {blocks, 1, 1}, .block = {128, 1, 1}});
  if (workspace > 0) plan.workspaces.push_back({.bytes = workspace});
  return plan;
}

CandidateChange change_of(const TwoKernels& two, const TemporaryFolder& folder) {
  record_two_kernels(folder.path(), two);
  const RunReader run = read_run(folder.path().string());
  return change_between(run, candidate_end(run, "1"), candidate_end(run, "2"));
}

std::string line_of(const std::string& text, const std::string& word) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (line.find(word) != std::string::npos) return line;
  return "";
}

}  // namespace

TEST_CASE("a line that changed is one that went and one that came, with both line numbers") {
  const std::vector<DiffLine> lines = source_diff("a\nb\nc\n", "a\nB\nc\nd");
  REQUIRE(lines.size() == 5);
  CHECK(lines[1].kind == DiffLine::Kind::removed);
  CHECK(lines[1].old_line == 2);
  CHECK(lines[2].kind == DiffLine::Kind::added);
  CHECK(lines[2].new_line == 2);
  CHECK(lines[3].kind == DiffLine::Kind::same);
  CHECK(lines[3].old_line == 3);
  CHECK(lines[4].text == "d");
  CHECK(line_count(lines, DiffLine::Kind::added) == 2);
}

TEST_CASE("a comment that changed is a difference of the sources") {
  CHECK(line_count(source_diff("x; // old\n", "x; // new\n"), DiffLine::Kind::removed) == 1);
}

TEST_CASE("changes whose surroundings touch are one hunk, others are two") {
  std::string before, after;
  for (int i = 0; i < 20; ++i) {
    before += std::to_string(i) + "\n";
    after += (i == 2 || i == 8 || i == 18 ? "x" : "") + std::to_string(i) + "\n";
  }
  CHECK(hunks_of(source_diff(before, after), 3).size() == 2);
  CHECK(hunks_of(source_diff(before, after), 0).size() == 3);
}

TEST_CASE("a change names tunables, plan, code and times that differ, and nothing that is equal") {
  TwoKernels two;
  two.seed.plans["wide"] = plan_with_blocks(8, 0);
  two.child.plans["wide"] = plan_with_blocks(16, 4096);
  two.seed.kernels = {{.kernel = "rows<64>", .registers = 40, .code_bytes = 100}};
  two.child.kernels = {{.kernel = "rows<128>", .registers = 64, .code_bytes = 100}};
  two.seed.counts.sass = {{"FFMA", 10}, {"LDG", 4}};
  two.child.counts.sass = {{"FFMA", 10}, {"LDG", 2}, {"LDGSTS", 3}};
  const TemporaryFolder folder;
  const CandidateChange change = change_of(two, folder);
  REQUIRE(change.tunables.size() == 1);
  CHECK(change.tunables[0].after == "128");
  REQUIRE(change.resources.size() == 1);
  CHECK(change.resources[0].name == "rows registers");
  CHECK(change.resources[0].before == "40");
  const std::vector<ChangedValue>& plan = change.plans.at("wide");
  REQUIRE(plan.size() == 2);
  CHECK(plan[0].after == "16 x 1 x 1 (16 blocks)");
  CHECK(plan[1].name == "workspaces");
  CHECK(plan[1].before.empty());
  REQUIRE(change.opcodes.size() == 2);
  CHECK(change.opcodes[1].name == "LDGSTS");
  CHECK(*change.opcodes[1].before == 0);
  REQUIRE(change.times.size() == 1);
  CHECK(change.times[0].before->time_us_median == 100);
  CHECK(change.times[0].after->time_us_median == 80);
  REQUIRE(change.ratio);
  CHECK(change.ratio->is_paired);
}

TEST_CASE("the other way round a gain is a loss with the interval turned") {
  const TemporaryFolder folder;
  record_two_kernels(folder.path(), {});
  const RunReader run = read_run(folder.path().string());
  const CandidateChange back = change_between(run, candidate_end(run, "2"), candidate_end(run, "1"));
  REQUIRE(back.times[0].ratio);
  CHECK(back.times[0].before->time_us_median == 80);
  CHECK(gain_text(*back.times[0].ratio, false).starts_with("0.800x [0.7"));
}

TEST_CASE("a measured ratio without any width is told as measured, a modelled one without an interval") {
  // Kernels of 2 us can have the same tick of the device's clock in every round.
  CHECK(gain_text(exact_ratio(100, 100, 0.999), false) == "1.000x [1.000, 1.000]");
  const TemporaryFolder folder, other;
  CHECK(change_text(change_of({}, folder), {}).find("modelled") == std::string::npos);
  const std::string modelled = change_text(change_of({.is_measured = false}, other), {});
  CHECK(modelled.find("#2 is 1.250x as fast as #1, modelled") != std::string::npos);
}

TEST_CASE("two that were never timed together have times and no paired gain") {
  TwoKernels two;
  two.has_duel = false;
  const TemporaryFolder folder;
  const CandidateChange change = change_of(two, folder);
  CHECK_FALSE(change.ratio);
  REQUIRE(change.times.size() == 1);
  CHECK_FALSE(change.times[0].ratio);
  CHECK(change_text(change, {}).find("not paired") != std::string::npos);
}

TEST_CASE("sources stand side by side on a wide screen and one after the other on a narrow one") {
  const TemporaryFolder folder;
  const CandidateChange change = change_of({}, folder);
  const std::string narrow = source_change_text(change, {.columns = 80});
  CHECK(narrow.find("@@ -1,3 +1,3 @@\n // tune: BN = 64 | 128\n-b\n+B\n c\n") != std::string::npos);
  const std::string wide = source_change_text(change, {.columns = 120});
  const std::string row = line_of(wide, "2 -b");
  CHECK(row.find("| ") != std::string::npos);
  CHECK(row.find("2 +B") != std::string::npos);
  CHECK(row.size() <= 120);
}

TEST_CASE("a source cannot send control characters to the terminal") {
  TwoKernels two;
  two.child_source = "a\n\x1b[2J\x1b]0;title\x07\nc\n";
  const TemporaryFolder folder;
  const CandidateChange change = change_of(two, folder);
  for (const std::size_t columns : {80, 160})
    CHECK(source_change_text(change, {.columns = columns}).find('\x1b') == std::string::npos);
}

TEST_CASE("colours mark what went and what came, only where they are wanted") {
  const TemporaryFolder folder;
  const CandidateChange change = change_of({}, folder);
  CHECK(source_change_text(change, {.has_color = true}).find("\x1b[31m-b\x1b[0m") != std::string::npos);
}

TEST_CASE("cutting and filling count characters, not bytes") {
  CHECK(cut_to("gr\xC3\xBC\xC3\x9F"
               "e",
               4) == "gr\xC3\xBC>");
  CHECK(padded_to("gr\xC3\xBC", 5) == "gr\xC3\xBC  ");
  CHECK(clean_line("a\tb") == "a       b");
  CHECK(clean_line("a\xFF\xC2\x9B"
                   "b") == "a??b");
  CHECK(clean_line("gain \u202E5.1x") == "gain ?5.1x");  // would be shown as "x1.5"
  CHECK(clean_line("a\u2066b\u2069\u200Fc\u2028d") == "a?b??c?d");
  CHECK(clean_line("\xC0\xAF\xED\xA0\x80") == "?????");  // overlong, half of a pair
  CHECK(clean_line("\u00FC \u20AC \U0001F600") == "\u00FC \u20AC \U0001F600");
  CHECK(shell_word("runs/night-1") == "runs/night-1");
  CHECK(shell_word("x; touch it's") == R"('x; touch it'\''s')");
  CHECK(shell_word("") == "''");
  CHECK(wrapped("one two three", 9, 2) == "  one two\n  three\n");
  CHECK(wrapped("one two three", 9, 2, 1) == "  one two\n   three\n");
}

TEST_CASE("amounts are told in a few digits with their unit") {
  CHECK(amount_text(276888832, "bytes") == "276.9 MB");
  CHECK(amount_text(33.12, "%") == "33.1 %");
  CHECK(amount_text(1234, "instructions") == "1234 instructions");
  CHECK(amount_text(12345, "") == "12.35 k");
}
