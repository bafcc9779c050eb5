// SPDX-License-Identifier: Apache-2.0
// Tunables in comments, and the identity of candidates.
#include "engine/core/candidate.h"

#include "tests/support/catch.h"

using namespace kernelites;

namespace {

void check_problem(std::string_view source, const std::string& problem) {
  std::vector<std::string> problems;
  CHECK(parse_tunables(source, &problems).empty());
  REQUIRE(problems.size() == 1);
  INFO(problems[0]);
  CHECK(problems[0].find(problem) != std::string::npos);
}

}  // namespace

TEST_CASE("tunables are read in the order written, the default first") {
  const auto tunables = parse_tunables("// x\n// tune: BN = 64 | 32 | 128\n  //tune:STAGES=-1|2\r\nint a;\n");
  REQUIRE(tunables.size() == 2);
  CHECK(tunables[0] == Tunable{"BN", {64, 32, 128}});
  CHECK(tunables[1] == Tunable{"STAGES", {-1, 2}});
}

TEST_CASE("code that only mentions tuning declares nothing") {
  CHECK(parse_tunables("int tune; // see tune: BN\nauto s = \"// tune: A = 1\";\n").empty());
}

TEST_CASE("a malformed tune comment is reported with its line and skipped") {
  check_problem("\n// tune: BN\n", "line 2");
  check_problem("// tune: 3B = 1", "not an identifier");
  check_problem("// tune: BN = 1 | x", "\"x\" of BN is not a whole number");
  check_problem("// tune: BN = 1 | 1", "twice");
  check_problem("// tune: BN =", "not a whole number");
}

TEST_CASE("a second declaration of a tunable is reported and the first one stays") {
  std::vector<std::string> problems;
  const auto tunables = parse_tunables("// tune: A = 1\n// tune: A = 2\n", &problems);
  CHECK(tunables == std::vector<Tunable>{{"A", {1}}});
  CHECK(problems.size() == 1);
}

TEST_CASE("tunables beyond the limit are reported") {
  std::string source;
  for (std::size_t i = 0; i <= k_tunables_max; ++i) source += "// tune: T" + std::to_string(i) + " = 1\n";
  std::vector<std::string> problems;
  CHECK(parse_tunables(source, &problems).size() == k_tunables_max);
  CHECK(problems.size() == 1);
}

TEST_CASE("the id depends on the source and on every tuning value") {
  const Candidate candidate{"code", {{"BN", 64}, {"STAGES", 2}}};
  CHECK(candidate_id(candidate) == candidate_id({"code", {{"STAGES", 2}, {"BN", 64}}}));
  CHECK(candidate_id(candidate) != candidate_id({"code ", {{"BN", 64}, {"STAGES", 2}}}));
  CHECK(candidate_id(candidate) != candidate_id({"code", {{"BN", 64}, {"STAGES", 3}}}));
  CHECK(candidate_id(candidate) != candidate_id({"code", {{"BN", 64}}}));
}

TEST_CASE("a candidate survives the way through JSON") {
  const Candidate candidate{"line\n\"quoted\" \xC3\xA9", {{"BN", 64}}};
  CHECK(Json::parse(Json(candidate).dump()).get<Candidate>() == candidate);
}
