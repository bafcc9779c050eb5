// SPDX-License-Identifier: Apache-2.0
// What facts account for, and that they say so when they do not.
#include "tools/inspect/gain_reasons.h"

#include <cmath>

#include "tests/support/catch.h"
#include "tests/unit/inspect/two_kernels.h"
#include "tools/inspect/explain_text.h"

using namespace kernelites;

namespace {

CounterReport counters(std::vector<std::pair<std::string, double>> values) {
  CounterReport report;
  for (const auto& [name, value] : values)
    report.readings.push_back({.name = name, .value = value, .unit = "", .words = "waiting for memory"});
  return report;
}

GainReasons reasons_of(const TwoKernels& two) {
  const TemporaryFolder folder;
  record_two_kernels(folder.path(), two);
  const RunReader run = read_run(folder.path().string());
  return gain_chain(run, "2").at(0).reasons;
}

bool has_fact(const GainReasons& reasons, FactSource source, const std::string& words) {
  for (const GainFact& fact : reasons.facts)
    if (fact.source == source && fact.words.find(words) != std::string::npos) return true;
  return false;
}

}  // namespace

TEST_CASE("bytes that are not moved any more account for the time that they took") {
  TwoKernels two;  // 20 us at 3352 GB/s are 67 MB
  two.seed.counters["wide"] = counters({{"dram_read_bytes", 300e6}, {"dram_write_bytes", 0}});
  two.child.counters["wide"] = counters({{"dram_read_bytes", 240e6}, {"dram_write_bytes", 0}});
  const GainReasons reasons = reasons_of(two);
  CHECK(reasons.explained == Explained::accounted);
  CHECK(reasons.workload == "wide");
  REQUIRE_FALSE(reasons.facts.empty());
  REQUIRE(reasons.facts[0].worth_us);
  CHECK(*reasons.facts[0].worth_us == Approx(60e6 / 3352e3));
  CHECK(reasons.facts[0].words == "device memory traffic: 240 MB instead of 300 MB (-20.0 %)");
}

TEST_CASE("the same work in less time is told as overlap, with what waited less") {
  TwoKernels two;
  two.seed.counters["wide"] = counters({{"dram_read_bytes", 300e6},
                                        {"dram_write_bytes", 0},
                                        {"stall_long_scoreboard", 5},
                                        {"issue_active_percent", 20}});
  two.child.counters["wide"] = counters({{"dram_read_bytes", 300e6},
                                         {"dram_write_bytes", 0},
                                         {"stall_long_scoreboard", 2},
                                         {"issue_active_percent", 25}});
  const GainReasons reasons = reasons_of(two);
  CHECK(reasons.explained == Explained::overlap);
  CHECK(has_fact(reasons, FactSource::counted, "2.0 for each issued instruction instead of 5.0"));
  CHECK(has_fact(reasons, FactSource::counted, "device memory moves 3750 GB/s instead of 3000 GB/s"));
}

TEST_CASE("a gain without counters is not explained by code alone") {
  TwoKernels two;
  two.seed.counts.sass = {{"LDG", 4}};
  two.child.counts.sass = {{"LDGSTS", 4}};
  const GainReasons reasons = reasons_of(two);
  CHECK(reasons.explained == Explained::uncounted);
  CHECK(reasons.conclusion.find("do not prove a cause") != std::string::npos);
  CHECK(has_fact(reasons, FactSource::compiled, "async copies 0 -> 4"));
}

TEST_CASE("counters that hardly changed do not explain a gain, and it is said") {
  TwoKernels two;
  two.seed.counters["wide"] = counters({{"instructions", 1e6}});
  two.child.counters["wide"] = counters({{"instructions", 0.98e6}});
  const GainReasons reasons = reasons_of(two);
  CHECK(reasons.explained == Explained::unexplained);
  CHECK(reasons.conclusion.find("do not explain the gain") != std::string::npos);
}

TEST_CASE("a loss is explained as one: more bytes, more time") {
  TwoKernels two;
  std::swap(two.seed_us, two.child_us);
  two.seed.counters["wide"] = counters({{"dram_read_bytes", 240e6}, {"dram_write_bytes", 0}});
  two.child.counters["wide"] = counters({{"dram_read_bytes", 300e6}, {"dram_write_bytes", 0}});
  const GainReasons reasons = reasons_of(two);
  CHECK(reasons.explained == Explained::accounted);
  CHECK(*reasons.facts[0].worth_us < 0);
  CHECK(reasons.conclusion.find("of the loss") != std::string::npos);
}

TEST_CASE("a launch that the time model no longer has accounts for its own time, and is called modelled") {
  TwoKernels two;
  two.is_measured = false;
  two.seed_launches = {{.kernel = "rows<1>", .time_us = 78, .limit = "DRAM"},
                       {.kernel = "combine", .time_us = 22, .limit = "launch"}};
  two.child_launches = {{.kernel = "rows<2>", .time_us = 80, .limit = "DRAM"}};
  const GainReasons reasons = reasons_of(two);
  CHECK(reasons.explained == Explained::accounted);
  CHECK(reasons.is_modelled);
  CHECK(reasons.facts[0].words.starts_with("launch combine is gone, it took 22.00 us"));
  CHECK(reasons.facts[1].worth_us == Approx(-2));
  // What goes against the gain and what plan and code repeat is no part of the answer.
  const auto leading = leading_facts(reasons, 3);
  REQUIRE(leading.size() == 1);
  CHECK(leading[0].brief == "launch combine is gone: 22.00 us");
  CHECK(reasons.conclusion.find("modelled, not measured") != std::string::npos);
}

TEST_CASE("a launch that does what another did is worth the difference, not all of its time") {
  TwoKernels two;
  two.is_measured = false;
  two.seed_launches = {{.kernel = "decode", .time_us = 100, .limit = "DRAM"}};
  two.child_launches = {{.kernel = "split_kv<4>", .time_us = 80, .limit = "DRAM"}};
  const GainReasons reasons = reasons_of(two);
  REQUIRE_FALSE(reasons.facts.empty());
  CHECK(reasons.facts[0].worth_us == Approx(20));
  CHECK(reasons.facts[0].brief == "launch split_kv<4> instead of decode: 80.00 us instead of 100.00 us");
}

TEST_CASE("of a long way the steps that gained most are told, in their order") {
  const auto step = [](double log_ratio) {
    GainStep step{};
    step.change.ratio.emplace();
    step.change.ratio->ratio.log_ratio_median = log_ratio;
    return step;
  };
  const std::vector<GainStep> chain{step(-0.1), step(0.2), step(-0.3), step(-0.01), step(-0.2)};
  CHECK(steps_that_gained(chain, 3) == std::vector<std::size_t>{0, 2, 4});
  CHECK(steps_that_gained({step(0.1)}, 3).empty());
}

TEST_CASE("no proven difference needs no explanation") {
  TwoKernels two;
  two.child_us = 99.7;
  CHECK(reasons_of(two).explained == Explained::no_change);
}

TEST_CASE("the way of a candidate ends at its seed, with the gain over it") {
  const TemporaryFolder folder;
  record_two_kernels(folder.path(), {});
  const RunReader run = read_run(folder.path().string());
  CHECK(gain_chain(run, "1").empty());
  const std::vector<GainStep> chain = gain_chain(run, "2");
  REQUIRE(chain.size() == 1);
  REQUIRE(chain[0].from_seed);
  CHECK(std::exp(-chain[0].from_seed->log_ratio_median) == Approx(1.25));
  const std::string text = explain_text(run, candidate_end(run, "2"), chain, true, 80);
  CHECK(text.find("1.250x") != std::string::npos);
  CHECK(explain_text(run, candidate_end(run, "1"), {}, true, 80).find("is a seed") != std::string::npos);
  CandidateEnd untimed = candidate_end(run, "2");
  untimed.end.specimen.speedup = 0;
  untimed.record.outcome = "failed";
  CHECK(explain_text(run, untimed, chain, true, 80).find("#2 was never timed (failed)") != std::string::npos);
}
