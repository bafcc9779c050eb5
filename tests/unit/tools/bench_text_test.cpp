// SPDX-License-Identifier: Apache-2.0
// The printed form of `bench`: every line and every key that a reader or a script may count on.
#include "tools/bench_text.h"

#include <cmath>

#include "tests/support/catch.h"
#include "tests/support/small_task.h"

using namespace kernelites;

namespace {

ArmTiming printed_timing(double time_us, bool is_modelled = false) {
  return {.time_us_median = time_us,
          .time_us_p10 = time_us * 0.9,
          .time_us_p90 = time_us * 1.1,
          .samples = 30,
          .is_modelled = is_modelled};
}

/// "a.cu" takes 20 us and "b.cu" half of it; a repetition takes a tenth longer.
Duel printed_duel(bool is_modelled, double factor = 1) {
  const PairedRatio twice{
      .log_ratio_median = std::log(2.0), .log_ratio_low = std::log(1.9), .log_ratio_high = std::log(2.1)};
  return {.verdict = Verdict::passed(),
          .arms = {"a.cu", "b.cu"},
          .timing = {{"wide",
                      {printed_timing(20 * factor, is_modelled), printed_timing(10 * factor, is_modelled)}}},
          .ratio = {{"wide", {twice}}},
          .modelled = {},
          .notes = {"a note"},
          .stage_ms = {}};
}

struct PrintedBench {
  explicit PrintedBench(bool is_modelled = false)
      : task(parse_task(small_task_document(), "// reference", "small_task.json")) {
    device = {.kind = is_modelled ? "vgpu (models H100)" : "NVIDIA H100 80GB HBM3",
              .is_virtual = is_modelled};
    timing.duel = printed_duel(is_modelled);
    for (const char* name : {"a.cu", "b.cu"})
      arms.push_back({.seed = {name, {"// kernel\n", {}}}, .verdict = Verdict::passed()});
  }
  std::string text() const {
    return bench_text(task, {.device = device, .arms = arms, .timing = timing, .repeated = repeated});
  }
  Json json() const {
    return bench_json(task, {.device = device, .arms = arms, .timing = timing, .repeated = repeated});
  }
  Task task;
  DeviceFacts device;
  std::vector<BenchArm> arms;
  BenchTiming timing;
  std::optional<Duel> repeated;
};

std::vector<std::string> member_names(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

}  // namespace

TEST_CASE("bench prints what was timed and how, a row for each arm, and what was not measured") {
  const std::string text = PrintedBench().text();
  INFO(text);
  CHECK(text == R"(scaled_rows on NVIDIA H100 80GB HBM3, measured, arms interleaved in one process
workload  arm   time us    p10    p90   n  GB/s  TFLOP/s  % of floor  limit              x vs a.cu
--------  ----  -------  -----  -----  --  ----  -------  ----------  ------  --------------------
wide      a.cu    20.00  18.00  22.00  30    26      0.0        15.0  launch                     1
wide      b.cu    10.00   9.00  11.00  30    52      0.0        30.0  launch  2.000 [1.900, 2.100]
a note
baseline torch (torch): not measured here
)");
}

TEST_CASE("modelled figures have neither a number of rounds nor an interval") {
  const std::string text = PrintedBench(true).text();
  INFO(text);
  CHECK_THAT(text,
             Catch::Contains("scaled_rows on vgpu (models H100), modelled: times are the model's, the same "
                             "for the same --model-key\n"));
  CHECK_THAT(text, Catch::Contains("2.000") && !Catch::Contains("[1.900") && !Catch::Contains(" 30 "));
  CHECK_FALSE(PrintedBench(true).json().at("rows").at(1).contains("speedup_interval"));
}

TEST_CASE("who was left out, and a duel that failed, are told before the table") {
  PrintedBench bench;
  bench.arms.push_back({.seed = {"c.cu", {"// kernel\n", {}}},
                        .verdict = Verdict::failed("check", "outputs_wrong", "y is off")});
  bench.timing.first = Verdict::failed("time", "deadline", "too slow");
  bench.timing.duel.verdict = Verdict::failed("time", "not_modelled", "no model");
  bench.repeated = Duel{.verdict = Verdict::failed("time", "deadline", "again")};
  const std::string text = bench.text();
  INFO(text);
  CHECK_THAT(text, Catch::Contains("in one process\n"
                                   "c.cu is left out: stage check (outputs_wrong): y is off\n"
                                   "first duel: deadline: too slow\n"
                                   "timing ended early: not_modelled: no model\n"
                                   "the second time ended early: deadline: again\n"
                                   "workload"));
  const Json json = bench.json();
  CHECK(json.at("first_verdict").at("reason") == "deadline");
  CHECK(json.at("verdict").at("reason") == "not_modelled");
  CHECK(json.at("verdict_again").at("message") == "again");
  CHECK(json.at("arms").at(2).at("verdict").at("stage") == "check");
}

TEST_CASE("a second process is told by how far it lies off") {
  PrintedBench bench;
  bench.repeated = printed_duel(false, 1.1);
  CHECK_THAT(bench.text(), Catch::Contains("again %") && Catch::Contains("x again %") &&
                               Catch::Contains("+10.00") && Catch::Contains("+0.00"));
  const Json row = bench.json().at("rows").at(1);
  CHECK(row.at("again") == Approx(0.1));
  CHECK(row.at("again_ratio") == Approx(0).margin(1e-12));
}

TEST_CASE("bench --json has these keys") {
  const Json json = PrintedBench().json();
  CHECK(member_names(json) == std::vector<std::string>{"task", "device", "is_modelled", "passes", "verdict",
                                                       "notes", "arms", "rows"});
  CHECK(json.at("task") == "scaled_rows");
  CHECK(json.at("is_modelled") == false);
  CHECK(json.at("passes") == 1);
  CHECK(json.at("notes") == Json{"a note"});
  CHECK(member_names(json.at("arms").at(0)) == std::vector<std::string>{"name", "verdict"});
  const Json& row = json.at("rows").at(1);
  CHECK(member_names(row) == std::vector<std::string>{"workload", "arm", "timing", "gb_per_s", "tflop_per_s",
                                                      "floor_us", "share_of_floor", "limit", "speedup",
                                                      "again", "again_ratio", "speedup_interval"});
  CHECK(row.at("workload") == "wide");
  CHECK(row.at("arm") == "b.cu");
  CHECK(row.at("timing").at("time_us_median") == 10);
  CHECK(row.at("speedup") == Approx(2));
  CHECK(row.at("speedup_interval").at(0) == Approx(1.9));
  CHECK(json.at("rows").at(0).at("speedup") == 1);
}
