// SPDX-License-Identifier: Apache-2.0
// The tuner proposes untried values, each once, and knows when it is done.
#include "engine/variation/tune_operator.h"

#include <set>

#include "engine/variation/tuning.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

const std::string k_source =
    "// tune: BM = 16 | 32\n"
    "// tune: BN = 32 | 64 | 128\n"
    "__global__ void k() {}\n";

/// What the operator does for a parent with `tuning` when `known` has been tried.
Action propose(const Task& task, const std::string& source, const Tuning& tuning,
               const std::set<std::string>& known, std::uint64_t seed) {
  VariationInput input{.task = task};
  input.parent.candidate = {source, tuning};
  input.is_known = [&](const Candidate& candidate) { return known.count(candidate_id(candidate)) > 0; };
  TuneOperator tuner(input, Rng(seed));
  return tuner.next(Started{});
}

}  // namespace

TEST_CASE("the tuner proposes every choice within two changes once and then gives up") {
  const Task task;
  std::set<std::string> known{candidate_id(with_full_tuning({k_source, {}}))};
  int proposals = 0;
  for (std::uint64_t seed = 0;; ++seed) {
    const Action action = propose(task, k_source, {}, known, seed);
    if (const auto* end = std::get_if<GiveUp>(&action)) {
      CHECK(end->rejection.reason == "tune_exhausted");
      break;
    }
    const Candidate& candidate = std::get<Submit>(action).proposal.candidate;
    CHECK(candidate.source == k_source);
    CHECK(candidate.tuning.size() == 2);
    REQUIRE(known.insert(candidate_id(candidate)).second);
    REQUIRE(++proposals < 100);
  }
  CHECK(proposals == 2 * 3 - 1);
}

TEST_CASE("one seed gives one proposal") {
  const Task task;
  const auto tuning = [&](std::uint64_t seed) {
    return std::get<Submit>(propose(task, k_source, {}, {}, seed)).proposal.candidate.tuning;
  };
  CHECK(tuning(7) == tuning(7));
  std::set<Tuning> seen;
  for (std::uint64_t seed = 0; seed < 30; ++seed) seen.insert(tuning(seed));
  CHECK(seen.size() > 3);
}

TEST_CASE("a source without tunables is not tunable") {
  const Task task;
  const Action action = propose(task, "__global__ void k() {}\n", {}, {}, 1);
  CHECK(std::get<GiveUp>(action).rejection.reason == "not_tunable");
}

TEST_CASE("the summary says what changed") {
  const Task task;
  const Action action = propose(task, "// tune: BM = 16 | 32\n__global__ void k() {}\n", {{"BM", 32}}, {}, 1);
  CHECK(std::get<Submit>(action).proposal.summary == "tune BM 32 -> 16");
}

TEST_CASE("a full tuning has the declared names and nothing else") {
  const Candidate full = with_full_tuning({k_source, {{"BN", 128}, {"GHOST", 1}}});
  CHECK(full.tuning == Tuning{{"BM", 16}, {"BN", 128}});
}
