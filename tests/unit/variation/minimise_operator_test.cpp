// SPDX-License-Identifier: Apache-2.0
// Changes as parts, the search for the least that do, and the operator around it.
#include "engine/variation/minimise_operator.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/core/rng.h"
#include "tests/support/catch.h"
#include "tests/support/small_task.h"

using namespace kernelites;

namespace {

std::vector<std::size_t> run_search(PartSearch& search, const std::set<std::size_t>& needed) {
  for (auto sets = search.next(); !sets.empty(); sets = search.next()) {
    std::vector<bool> does;
    for (const auto& set : sets)
      does.push_back(std::includes(set.begin(), set.end(), needed.begin(), needed.end()));
    search.told(does);
  }
  return search.least();
}

const Candidate k_before{"// tune: BN = 16 | 32\na\nb\nc\nd\ne\nf\n", {{"BN", 16}}};
const Candidate k_after{"// tune: BN = 16 | 32\nA\nb\n// a word\nc\nD\nx\ne\nF\n", {{"BN", 32}}};

/// The operator on k_before -> k_after, where the line "D" is what counts.
struct Episode {
  Task task = parse_task(small_task_document(), "reference", "small_task.json");
  VariationInput input{.task = task};
  int evaluated = 0;
  bool is_inseparable = false;  // nothing but the whole change compiles

  Episode() {
    input.parent = {.id = "after", .candidate = k_after, .verdict = Verdict::passed(), .speedup = 1.5};
    Ancestor before;
    before.specimen = {.id = "before", .candidate = k_before, .verdict = Verdict::passed(), .speedup = 1.0};
    input.lineage = {before};
  }
  Action run() {
    MinimiseOperator worker(input);
    Action action = worker.next(Started{});
    while (const auto* wanted = std::get_if<EvaluateInside>(&action)) {
      Evaluated results;
      for (const InsideWish& wish : wanted->wishes) {
        ++evaluated;
        InsideResult result;
        result.specimen.candidate = wish.candidate;
        result.specimen.verdict =
            is_inseparable ? Verdict::failed("compile", "compile_error", "") : Verdict::passed();
        const double loss = wish.candidate.source.find("D\n") != std::string::npos ? 0.0 : 0.4;
        result.specimen.over_parent = PairedRatio{.log_ratio_median = loss};
        results.results.push_back(result);
      }
      action = worker.next(results);
    }
    return action;
  }
};

}  // namespace

TEST_CASE("all parts of a change give the new code, none the old") {
  const std::vector<ChangePart> parts = change_parts(k_before, k_after);
  REQUIRE(parts.size() == 4);
  CHECK(with_parts(k_before, {}).source == k_before.source);
  CHECK(with_parts(k_before, parts).source == "// tune: BN = 16 | 32\nA\nb\nc\nD\nx\ne\nF\n");
  CHECK(with_parts(k_before, parts).tuning == k_after.tuning);
  CHECK(with_parts(k_before, {parts[1]}).source == "// tune: BN = 16 | 32\na\nb\nc\nD\nx\ne\nf\n");
  CHECK(with_parts(k_before, {parts[3]}).tuning.at("BN") == 32);
}

TEST_CASE("random texts are rebuilt from their parts, however many there are") {
  Rng rng(3);
  for (int i = 0; i < 200; ++i) {
    std::string a, b;
    for (std::uint64_t n = rng.below(300); n > 0; --n) {
      const std::string line = "l" + std::to_string(rng.below(20)) + "\n";
      if (rng.uniform() < 0.8) a += line;
      if (rng.uniform() < 0.8) b += line;
    }
    const Candidate from{a, {}}, to{b, {}};
    const auto parts = change_parts(from, to);
    REQUIRE(parts.size() <= k_change_parts_max);
    REQUIRE(with_parts(from, parts).source == b);
  }
}

TEST_CASE("comments and white space are no parts of a change, declarations of tunables are") {
  CHECK(change_parts({"a // x\n  b\n", {}}, {"a // y\n\tb\n// z\n", {}}).empty());
  CHECK(change_parts({"a\n", {}}, {"// tune: BN = 1 | 2\na\n", {}}).size() == 1);
}

TEST_CASE("the least set is found, wherever it lies, and proven") {
  Rng rng(5);
  for (int i = 0; i < 300; ++i) {
    const std::size_t parts = 1 + rng.below(12);
    std::set<std::size_t> needed{rng.below(parts)};
    if (rng.uniform() < 0.5) needed.insert(rng.below(parts));
    PartSearch search(parts, 1000);
    const auto least = run_search(search, needed);
    REQUIRE(std::set<std::size_t>(least.begin(), least.end()) == needed);
    REQUIRE(search.is_proven());
  }
}

TEST_CASE("tests are never more than allowed, and a search that is cut short proves nothing") {
  PartSearch search(64, 5);
  const auto least = run_search(search, {1, 62});
  CHECK(search.tests() <= 5);
  CHECK(least.size() > 2);
  CHECK_FALSE(search.is_proven());
}

TEST_CASE("a change is minimised to the part that makes it fast") {
  Episode episode;
  const Action end = episode.run();
  REQUIRE(std::holds_alternative<Submit>(end));
  CHECK(std::get<Submit>(end).proposal.candidate.source == "// tune: BN = 16 | 32\na\nb\nc\nD\nx\ne\nf\n");
  CHECK(std::get<Submit>(end).proposal.candidate.tuning.at("BN") == 16);
  CHECK(episode.evaluated <= k_minimise_tests_max);
}

TEST_CASE("where evaluations are refused, nothing is called minimal") {
  Episode episode;
  MinimiseOperator worker(episode.input);
  const Action first = worker.next(Started{});
  Evaluated refused;
  for (std::size_t i = 0; i < std::get<EvaluateInside>(first).wishes.size(); ++i)
    refused.results.push_back({.refusal = "the run's budget of candidates is used up"});
  CHECK(std::get<GiveUp>(worker.next(refused)).rejection.reason == "minimise_unfinished");
}

TEST_CASE("a change of one part is minimal without any evaluation") {
  Episode episode;
  episode.input.parent.candidate = {"// tune: BN = 16 | 32\na\nb\nc\nD\ne\nf\n", {{"BN", 16}}};
  const Action end = episode.run();
  CHECK(std::get<GiveUp>(end).rejection.reason == "already_minimal");
  CHECK(episode.evaluated == 0);
}

TEST_CASE("what is no faster than its parent, or the same code, is not minimised") {
  Episode slower;
  slower.input.parent.speedup = 0.9;
  CHECK(std::get<GiveUp>(slower.run()).rejection.reason == "no_change");
  Episode same;
  same.input.parent.candidate = {k_before.source + "// words\n", k_before.tuning};
  CHECK(std::get<GiveUp>(same.run()).rejection.reason == "no_change");
  Episode seed;
  seed.input.lineage.clear();
  CHECK(std::get<GiveUp>(seed.run()).rejection.reason == "no_change");
}

TEST_CASE("a change no part of which compiles is given up after a few tests") {
  Episode episode;
  episode.is_inseparable = true;
  const Action action = episode.run();
  REQUIRE(std::holds_alternative<GiveUp>(action));
  CHECK(std::get<GiveUp>(action).rejection.reason == "inseparable");
  CHECK(episode.evaluated >= k_minimise_blind_max);
  CHECK(episode.evaluated < k_minimise_tests_max);
}
