// SPDX-License-Identifier: Apache-2.0
// Plans, verdicts and numbers through JSON.
#include "engine/core/launch_plan.h"

#include <cmath>
#include <limits>

#include "engine/core/error.h"
#include "engine/core/verdict.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

LaunchPlan busy_plan() {
  LaunchPlan plan;
  PlannedLaunch first{
      .kernel = "split_kv<128,4>", .grid = {15, 8, 1}, .block = {128, 1, 1}, .cluster = {1, 1, 1}};
  first.shared_bytes = 65536;
  first.arguments = {{.kind = ArgumentKind::tensor, .index = 2},
                     {.kind = ArgumentKind::workspace, .index = 0},
                     {.kind = ArgumentKind::tensor_map, .index = 1},
                     {.kind = ArgumentKind::i32, .integer = -3},
                     {.kind = ArgumentKind::i64, .integer = std::int64_t{1} << 40},
                     {.kind = ArgumentKind::f32, .real = 0.1},
                     {.kind = ArgumentKind::f64, .real = -std::numeric_limits<double>::infinity()}};
  PlannedLaunch second{
      .kernel = "combine", .is_cooperative = true, .is_programmatic = true, .is_prepare = true};
  second.carveout_percent = 50;
  second.priority = -1;
  second.after = 0;
  plan.launches = {first, second};
  plan.workspaces = {{.bytes = 4096, .alignment = 512, .kind = WorkspaceKind::self_clearing}, {}};
  plan.tensor_maps = {{.is_workspace = true,
                       .index = 1,
                       .dtype = Dtype::e4m3,
                       .rank = 2,
                       .extent = {128, 4096},
                       .stride_bytes = {1, 128},
                       .box = {64, 32},
                       .swizzle_bytes = 128,
                       .offset_bytes = 256},
                      {}};
  return plan;
}

}  // namespace

TEST_CASE("a plan survives the way through JSON") {
  const LaunchPlan plan = busy_plan();
  CHECK(Json::parse(Json(plan).dump()).get<LaunchPlan>() == plan);
}

TEST_CASE("an unsupported shape's reason survives the way through JSON") {
  const LaunchPlan plan{.unsupported = "D must be 128"};
  CHECK(Json::parse(Json(plan).dump()).get<LaunchPlan>() == plan);
}

TEST_CASE("a plan of another version is refused") {
  Json json = busy_plan();
  json["version"] = 2;
  CHECK_THROWS_AS(json.get<LaunchPlan>(), Error);
}

TEST_CASE("unknown words in a plan are refused") {
  Json json = busy_plan();
  json["workspaces"][0]["kind"] = "dirty";
  CHECK_THROWS_AS(json.get<LaunchPlan>(), Error);
  json = busy_plan();
  json["launches"][0]["arguments"][0] = Json{{"pointer", 3}};
  CHECK_THROWS_AS(json.get<LaunchPlan>(), Error);
}

TEST_CASE("a verdict is failed by default and survives the way through JSON") {
  CHECK_FALSE(Verdict().is_passed);
  Verdict verdict = Verdict::failed("compile", "compile_error", "undeclared identifier");
  verdict.diagnostics = {{"error_20", "identifier \"x\" is undefined", 12}};
  CHECK(Json::parse(Json(verdict).dump()).get<Verdict>() == verdict);
  CHECK(Json::parse(Json(Verdict::passed()).dump()).get<Verdict>() == Verdict::passed());
}

TEST_CASE("infinite and undefined numbers survive the way through JSON") {
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(real_from_json(Json::parse(real_to_json(infinity).dump())) == infinity);
  CHECK(real_from_json(Json::parse(real_to_json(-infinity).dump())) == -infinity);
  CHECK(std::isnan(real_from_json(Json::parse(real_to_json(std::nan("")).dump()))));
  CHECK(real_from_json(Json::parse(real_to_json(0.1).dump())) == 0.1);
  CHECK_THROWS_AS(real_from_json(Json("much")), Error);
}
