// SPDX-License-Identifier: Apache-2.0
// A portfolio holds what was proven and timed, with lineage and times, and its manifest says so.
#include "tools/exporting/portfolio.h"

#include <algorithm>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/unit/search/search_rig.h"
#include "tools/exporting/manifest.h"

using namespace kernelites;

namespace {

/// A run of two seeds and a model's candidates over a fake evaluator.
void run_to_end(SearchRig& rig) {
  FakeEvaluator evaluator;
  FakeModel model;
  rig.run(evaluator, &model);
}

}  // namespace

TEST_CASE("a portfolio of a run holds its best proven candidates, with lineage to a seed and times") {
  SearchRig rig;
  run_to_end(rig);
  const Archive archive = Archive::open_read_only(rig.folder.path());
  const Portfolio portfolio = read_portfolio(archive, rig.task);
  REQUIRE_FALSE(portfolio.arms.empty());
  CHECK(portfolio.dispatch.default_arm == 0);
  for (const PortfolioArm& arm : portfolio.arms) {
    CHECK(arm.examination.verdict.is_passed);
    CHECK(arm.lineage.back().operator_name == "seed");
    CHECK(arm.times.size() == rig.task.bench.size());
  }
  const std::string text =
      manifest_file(manifest_json(portfolio, rig.task, "cpp", Json::object(), {{"a", "b"}})).bytes;
  const Json manifest = Json::parse(text);
  CHECK(manifest.at("files").at("a") == "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d");
  CHECK(manifest.at("arms").at(0).at("id") == portfolio.arms[0].candidate_id);
  CHECK(manifest.at("dispatch").at("default") == "arm_0");
  CHECK(manifest.at("dispatch").at("gain_min") == least_gain(portfolio.is_modelled));
}

TEST_CASE("one elite on request is the whole portfolio, and an unproven one is refused") {
  SearchRig rig;
  run_to_end(rig);
  const Archive archive = Archive::open_read_only(rig.folder.path());
  const Portfolio one = read_portfolio(archive, rig.task, {.only = 1, .gain_min = 0.01, .fallback_us = {}});
  REQUIRE(one.arms.size() == 1);
  CHECK(one.arms[0].ordinal == 1);
  CHECK(one.dispatch.rules.empty());
  CHECK_THROWS_AS(read_portfolio(archive, rig.task, {.only = 999, .gain_min = 0.01, .fallback_us = {}}),
                  ConfigError);
}

TEST_CASE(
    "a rule needs more of a modelled gain than of a measured one: what the time model tells from nothing") {
  const std::vector<ShapeTimes> near{{.workload = "a", .dims = {{"B", 1}}, .time_us = {10, 20}},
                                     {.workload = "b", .dims = {{"B", 8}}, .time_us = {30, 29.1}}};
  CHECK(choose_dispatch(near, {"B"}, least_gain(false)).rules.size() == 1);
  CHECK(choose_dispatch(near, {"B"}, least_gain(true)).rules.empty());
  CHECK(least_gain(true) == Approx(1 - 1 / 1.15));
  // 1.14 times as fast saves 12.3 % of the time: too little, and no matter of neighbours.
  CHECK_THAT(left_out_words({.ordinal = 3, .workload = "b", .gain = 0.14, .gain_min = least_gain(true)}),
             Catch::Contains("less than --gain 13.0 %"));
  CHECK_THAT(left_out_words({.ordinal = 3, .workload = "b", .gain = 0.2, .gain_min = least_gain(true)}),
             Catch::Contains("no rule tells its shape"));
}

TEST_CASE("a champion that the model's threshold left out is told with that one when times were measured") {
  Portfolio portfolio;
  portfolio.gain_min = least_gain(true);
  portfolio.left_out = {{.ordinal = 3, .workload = "b", .gain = 0.05, .gain_min = portfolio.gain_min}};
  portfolio = with_measured(std::move(portfolio), {{.workload = "b", .dims = {{"B", 8}}, .time_us = {30}}});
  CHECK(portfolio.gain_min == least_gain(false));
  CHECK_THAT(left_out_words(portfolio.left_out.at(0)), Catch::Contains("less than --gain 13.0 %"));
}

TEST_CASE(
    "measured times of a fallback choose nothing beside modelled ones, until the arms were measured too") {
  const auto calls_fallback = [](const Portfolio& portfolio) {
    const auto& rules = portfolio.dispatch.rules;
    return std::any_of(rules.begin(), rules.end(),
                       [](const auto& rule) { return rule.arm == k_fallback_arm; });
  };
  for (const bool is_virtual : {true, false}) {
    SearchRig rig;
    FakeEvaluator evaluator(is_virtual);
    FakeModel model;
    rig.run(evaluator, &model);
    const Archive archive = Archive::open_read_only(rig.folder.path());
    PortfolioChoice choice{.only = {}, .gain_min = {}, .fallback_us = {{rig.task.bench[0].name, 0.001}}};
    const Portfolio portfolio = read_portfolio(archive, rig.task, choice);
    REQUIRE(portfolio.is_modelled == is_virtual);
    CHECK(calls_fallback(portfolio) == !is_virtual);
    CHECK(calls_fallback(with_measured(portfolio, portfolio.shapes)));
    choice.fallback_us = {};
    if (is_virtual) CHECK(read_portfolio(archive, rig.task, choice).arms.size() == portfolio.arms.size());
  }
}

TEST_CASE("how often an H100 agreed with the model is told of the virtual H100 alone") {
  SearchRig rig;
  FakeEvaluator evaluator;
  std::string kind;
  evaluator.answer = [&](const Request& request, Provenance provenance) {
    provenance.device.kind = kind;
    return fake_reply(request, provenance);
  };
  FakeModel model;
  SECTION("an H100") { kind = "vgpu (models H100)"; }
  SECTION("another device") { kind = "vgpu (models RTX 4090)"; }
  rig.run(evaluator, &model);
  const Portfolio portfolio = read_portfolio(Archive::open_read_only(rig.folder.path()), rig.task);
  const bool is_h100 = kind == "vgpu (models H100)";
  CHECK((model_words(portfolio, 1.2).find("an H100 found") != std::string::npos) == is_h100);
  CHECK((times_words(portfolio).find("nobody has compared") == std::string::npos) == is_h100);
}

TEST_CASE(
    "known examinations are no evidence at all, known modelled times none of speed until it is measured") {
  Portfolio portfolio;
  CHECK(evidence_words(portfolio).empty());
  portfolio.known_before = {.words = "its times are known"};
  CHECK_THAT(evidence_words(portfolio), Catch::Contains("NO EVIDENCE OF SPEED: its times are known."));
  CHECK_THAT(evidence_words(portfolio), !Catch::Contains("could pass"));
  portfolio.is_confirmed = true;
  CHECK(evidence_words(portfolio).empty());
  portfolio.known_before = {.words = "it was golden", .are_examinations = true};
  CHECK_THAT(evidence_words(portfolio), Catch::Contains("NO EVIDENCE: it was golden."));
}
