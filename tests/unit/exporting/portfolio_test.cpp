// SPDX-License-Identifier: Apache-2.0
// A portfolio holds what was proven and timed, with lineage and times, and its manifest says so.
#include "tools/exporting/portfolio.h"

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
