// SPDX-License-Identifier: Apache-2.0
// A library's domain spans what was proven, keeps what divides what, and draws only from it.
#include "tools/exporting/library_domain.h"

#include <set>

#include "engine/core/error.h"
#include "tests/support/catch.h"
#include "tests/support/small_task.h"
#include "tools/exporting/host_plan.h"

using namespace kernelites;

namespace {

/// M groups of heads H, multiples of G, over N columns in tiles of 16.
Task grouped_task() {
  Json document = small_task_document();
  document["dims"]["H"] = Json::object();
  document["dims"]["G"] = Json::object();
  document["tensors"]["x"]["shape"] = {"M", "N", "H*G"};
  document["tensors"]["y"]["shape"] = {"M", "N*H"};
  document["check"] = Json::array({{{"name", "a"}, {"dims", {{"M", 2}, {"N", 32}, {"H", 6}, {"G", 3}}}},
                                   {{"name", "b"}, {"dims", {{"M", 3}, {"N", 16}, {"H", 8}, {"G", 2}}}}});
  document["bench"][0]["dims"] = {{"M", 5}, {"N", 512}, {"H", 8}, {"G", 4}};
  document["hold_out"][0]["dims"] = {{"M", {1, 9}}, {"N", {16, 160}}, {"H", {4, 4}}, {"G", {2, 2}}};
  return parse_task(document, "reference", "grouped.json");
}

}  // namespace

TEST_CASE("the domain spans workloads and hold-out ranges, and knows multiples of a dim and of a number") {
  const LibraryDomain domain = domain_of(grouped_task(), {});
  CHECK(Json(domain).dump() ==
        R"({"ranges":{"M":[1,9],"N":[16,512],"H":[4,8],"G":[2,4]},)"
        R"("multiples":[{"dim":"N","of":16},{"dim":"H","of":2},{"dim":"H","of":"G"}]})");
  CHECK(is_within(domain, {9, 48, 6, 3}));
  CHECK_FALSE(is_within(domain, {9, 40, 6, 3}));
  CHECK_FALSE(is_within(domain, {9, 48, 6, 4}));
  CHECK_FALSE(is_within(domain, {10, 48, 6, 3}));
}

TEST_CASE("draws are different shapes of the domain, the task's workloads first") {
  const Task task = grouped_task();
  const LibraryDomain domain = domain_of(task, {"M=1:400"});
  const std::vector<Shape> shapes = draw_shapes(task, domain, 500, 1);
  REQUIRE(shapes.size() == 500);
  CHECK(shapes[0] == Shape{2, 32, 6, 3});
  CHECK(std::set<Shape>(shapes.begin(), shapes.end()).size() == 500);
  for (const Shape& shape : shapes) CHECK(is_within(domain, shape));
  CHECK(draw_shapes(task, domain, 500, 1) == shapes);
}

TEST_CASE("a range that is none is refused") {
  for (const char* change : {"M", "M=1", "K=1:2", "M=0:2", "M=3:2", "M=1:99999999999", "M=a:b"})
    CHECK_THROWS_AS(domain_of(grouped_task(), {change}), ConfigError);
}

TEST_CASE("formulas of extents become C++ in which a quotient is no whole number's") {
  CHECK(formula_expression("cdiv(S, 16)*Hkv + 1") == "formula::cdiv(dim_S, 16.0)*dim_Hkv + 1.0");
  CHECK(formula_expression("max(1, N/2)") == "formula::max(1.0, dim_N/2.0)");
}
