// SPDX-License-Identifier: Apache-2.0
// What is said of a timed kernel: the limiting roof first, counters in words, nothing that is not known.
#include "engine/variation/feedback_table.h"

#include "engine/variation/code_rows.h"
#include "tests/support/catch.h"
#include "tests/support/small_task.h"

using namespace kernelites;
using Catch::Contains;

namespace {

const Task& task() {
  static const Task parsed = parse_task(small_task_document(), "// reference", "t");
  return parsed;
}

DeviceFacts h100() {
  DeviceFacts facts;
  facts.kind = "NVIDIA H100 80GB HBM3";
  facts.memory_gb_per_s = 2800;
  return facts;
}

/// Its only workload takes `time_us`; its one kernel has many registers.
Specimen timed(double time_us) {
  Specimen specimen;
  specimen.duel.emplace();
  specimen.duel->timing["wide"] = {ArmTiming{.time_us_median = time_us}};
  specimen.examination.kernels = {{.kernel = "k", .registers = 255}};
  LaunchPlan plan;
  plan.launches.push_back({.kernel = "k", .grid = {264, 1, 1}, .block = {256, 1, 1}});
  specimen.examination.plans["wide"] = plan;
  return specimen;
}

CounterReport counted() {
  CounterReport report;
  const auto add = [&](const char* name, double value) {
    report.readings.push_back({name, value, "", name});
  };
  add("dram_read_bytes",
      393216);  // as much again as the task's bytes, 2 * 2 * 16 * 1024 * 8 = 524288, with what follows
  add("dram_write_bytes", 393216);
  add("issue_active_percent", 12);
  add("warps_active_percent", 25);
  add("l2_read_sectors", 1000);
  add("l2_read_hit_sectors", 250);
  add("stall_wait", 0.1);
  add("stall_barrier", 1.5);
  add("stall_long_scoreboard", 6.25);
  return report;
}

const FeedbackRow* find_row(const std::vector<FeedbackRow>& rows, const std::string& name) {
  for (const FeedbackRow& row : rows)
    if (row.name == name) return &row;
  return nullptr;
}

}  // namespace

TEST_CASE("a kernel that was not timed has no rows") {
  CHECK(feedback_rows(task(), h100(), Specimen{}).empty());
  CHECK(feedback_text(task(), h100(), Specimen{}).empty());
}

TEST_CASE("the limiting roof comes first, with the floor and the share of it") {
  const auto rows = feedback_rows(task(), h100(), timed(10.0));
  REQUIRE_FALSE(rows.empty());
  CHECK(rows[0].name == "limiting roof");
  CHECK_THAT(rows[0].value, Contains("launch: 3.0 us of 10.00 us measured (30 %)"));
  CHECK(rows.size() <= k_feedback_rows_max);
}

TEST_CASE("occupancy names what limits it, and how full the waves are") {
  const auto rows = feedback_rows(task(), h100(), timed(1.0));
  const FeedbackRow* const row = find_row(rows, "occupancy");
  REQUIRE(row);
  CHECK_THAT(row->value, Contains("1 blocks per SM by registers, 2.00 waves"));
}

TEST_CASE("on a device whose peaks are not known the time stands alone") {
  DeviceFacts unknown = h100();
  unknown.kind = "another card";
  CHECK(feedback_rows(task(), unknown, timed(1.0)).at(0).name == "time");
}

TEST_CASE("counters are set against the task, and the longest waits are named first") {
  Specimen specimen = timed(1.0);
  specimen.examination.counters["wide"] = counted();
  const auto rows = feedback_rows(task(), h100(), specimen);
  const FeedbackRow* const traffic = find_row(rows, "device memory traffic");
  REQUIRE(traffic);
  CHECK_THAT(traffic->value, Contains("1.50 of the compulsory bytes"));
  CHECK_THAT(find_row(rows, "L2 reads")->value, Contains("25 % hits"));
  CHECK_THAT(feedback_text(task(), h100(), specimen), Contains("long_scoreboard stall: 6.2"));
  CHECK(find_row(rows, "barrier stall"));
  CHECK_FALSE(find_row(rows, "wait stall"));         // too small to matter
  CHECK_FALSE(find_row(rows, "tensor cores busy"));  // not read
}

TEST_CASE("counters that could not be read give no rows") {
  Specimen specimen = timed(1.0);
  specimen.examination.counters["wide"].problem = "no permission";
  CHECK_FALSE(find_row(feedback_rows(task(), h100(), specimen), "device memory traffic"));
}

TEST_CASE("machine instructions are told in groups, spills and complaints of ptxas with what they mean") {
  Examination examination;
  CHECK(sass_rows(examination).empty());
  examination.counts.sass = {{"HGMMA", 8}, {"LDS", 3}, {"LDSM", 4}, {"LDL", 2}, {"NOP", 5}};
  examination.kernels = {{.kernel = "k", .spill_store_bytes = 8, .spill_load_bytes = 16}};
  examination.notes = {"ptxas: wgmma.mma_async instructions are serialized due to ...", "another note"};
  const std::vector<FeedbackRow> rows = sass_rows(examination);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].value == "tensor 8, shared 7, local 2, other 5");
  CHECK(rows[1].value.find("16 B loaded") != std::string::npos);
  CHECK(rows[2].meaning.find("wait for each other") != std::string::npos);
}

TEST_CASE("modelled launches are told as modelled, the longest first") {
  Duel duel;
  CHECK(modelled_rows(duel).empty());
  duel.modelled = {{"short", {{.kernel = "a", .time_us = 3, .limit = "latency"}}},
                   {"long",
                    {{.kernel = "b", .time_us = 2, .limit = "L2"},
                     {.kernel = "c", .time_us = 6, .limit = "DRAM", .occupancy = 0.5, .waves = 2}}}};
  const std::vector<FeedbackRow> rows = modelled_rows(duel, 1);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].name == "modelled at long");
  CHECK(rows[0].value.find("`c` takes 6.0 us (75 % of the call), limited by DRAM") != std::string::npos);
  CHECK(rows[0].meaning.find("not measured") != std::string::npos);
}
