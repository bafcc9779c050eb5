// SPDX-License-Identifier: Apache-2.0
// What a library says of its domain is what its plans take.
#include "tools/exporting/domain_coverage.h"
#include "tests/support/catch.h"
#include "tests/unit/exporting/library_candidate.h"

using namespace kernelites;

namespace {

/// All shapes of four dims, refused where `is_taken` says so.
std::vector<TriedShape> tried(const std::function<bool(const Shape&)>& is_taken) {
  std::vector<TriedShape> shapes;
  for (const std::int64_t heads : {4, 8, 16, 32, 48, 64})
    for (const std::int64_t kv : {1, 2, 4, 8})
      for (std::int64_t length = 1; length <= 40; ++length)
        for (const std::int64_t width : {64, 96, 128, 256})
          if (heads % kv == 0) {
            const Shape shape{heads, kv, length, width};
            shapes.push_back({shape, is_taken(shape), is_taken(shape) ? "" : "no"});
          }
  return shapes;
}

DomainCoverage coverage(const std::function<bool(const Shape&)>& is_taken) {
  return coverage_of({"Hq", "Hkv", "S", "D"}, tried(is_taken));
}

std::vector<std::string> relations(const DomainCoverage& coverage) {
  std::vector<std::string> words;
  for (const DomainRelation& relation : coverage.relations) words.push_back(relation.words);
  return words;
}

}  // namespace

TEST_CASE("a bound of a quotient, extents and a product are found where plans refuse by them") {
  const DomainCoverage by_group = coverage([](const Shape& s) { return s[0] / s[1] <= 8; });
  CHECK(relations(by_group) == std::vector<std::string>{"Hq / Hkv <= 8"});
  CHECK(by_group.relations[0].first_refused == 12);
  CHECK(by_group.unexplained == 0);
  CHECK(relations(coverage([](const Shape& s) { return s[3] == 64 || s[3] == 128; })) ==
        std::vector<std::string>{"D one of 64, 128"});
  CHECK(relations(coverage([](const Shape& s) { return s[3] % 64 == 0; })) ==
        std::vector<std::string>{"D a multiple of 64"});
  CHECK(relations(coverage([](const Shape& s) { return s[2] * s[3] <= 2048; })) ==
        std::vector<std::string>{"S * D <= 2048"});
  const DomainCoverage two = coverage([](const Shape& s) { return s[0] / s[1] <= 8 && s[2] >= 4; });
  CHECK(relations(two) == std::vector<std::string>{"Hq / Hkv <= 8", "S >= 4"});
  CHECK(two.unexplained == 0);
}

TEST_CASE("refusals that no relation explains are counted with the plans' words") {
  const DomainCoverage odd = coverage([](const Shape& s) { return (s[0] + s[2]) % 7 != 3; });
  CHECK(odd.relations.empty());
  CHECK(odd.refused > 0);
  CHECK(odd.unexplained == odd.refused);
  const std::vector<std::string> words = coverage_words(odd);
  REQUIRE(words.size() == 1);
  CHECK_THAT(words[0], Catch::Contains("by no relation") && Catch::Contains("\"no\" ("));
  CHECK(coverage_words(coverage([](const Shape&) { return true; })) ==
        std::vector<std::string>{"All 3680 shapes that were tried are taken."});
  CHECK(coverage([](const Shape&) { return false; }).relations.empty());
}

TEST_CASE("a shape that one arm refuses and another takes is the library's, as the dispatch goes on") {
  const Task task = library_task();
  const Portfolio portfolio = library_portfolio();
  LibraryCode code;
  code.arms = {{.label = "arm_0"}, {.label = "arm_1"}};
  const std::vector<ProofBatch> batches{
      {.device = {}, .scalars = {}, .shapes = {{16, 64}, {512, 64}, {32, 64}}},
      {.device = {}, .scalars = {}, .shapes = {{48, 64}}}};
  code.arms[1].refusals = {{0, 1, "too tall"}, {0, 2, "no"}, {1, 0, "no"}};
  code.arms[0].refusals = {{0, 2, "never"}, {1, 0, "not by these scalars"}};
  const DomainCoverage coverage = library_coverage(task, portfolio, code, batches, {});
  CHECK(coverage.shapes == 4);
  CHECK(coverage.refused == 2);
  REQUIRE(coverage.refused_shapes.size() == 1);  // a batch of other scalars says nothing of the task's
  CHECK(coverage.refused_shapes[0].shape == Shape{32, 64});
  CHECK(coverage.arms == std::vector<std::pair<std::string, std::int64_t>>{{"arm_0", 2}, {"arm_1", 0}});
}
