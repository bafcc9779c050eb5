// SPDX-License-Identifier: Apache-2.0
// Placement: how often a candidate is dueled before its place is decided.
#include "engine/search/placement.h"

#include <cmath>

#include "tests/support/catch.h"

using namespace kernelites;

namespace {

constexpr const char* k_cell = "shared/fma/tile";

/// A candidate in the cell of the elite "old", which is the baseline too, dueled on one workload "w".
struct Case {
  Case() {
    Elite elite{.cell = k_cell, .ordinal = 1, .candidate_id = "old", .fitness = 1, .speedup = 1};
    grid.put(elite);
    course.record.ordinal = course.record.variation = 2;
    course.record.id = "new";
    course.examination = Examination{.verdict = Verdict::passed()};
    course.examination->descriptors = {{"movement", "shared"}, {"compute", "fma"}, {"split", "tile"}};
  }

  NextStep next() const {
    return next_step(
        course,
        {.grid = grid, .champions = champions, .baseline_id = "old", .weights = {{"w", 1}}, .rule = rule});
  }

  /// A duel that says log(new / old) with the half-width, and the same of an elite that came after "old".
  void duel(double log_ratio, double half_width, bool is_confirmation = false,
            const std::string& elite = "") {
    Duel duel{.verdict = Verdict::passed(), .arms = {"candidate", "old"}};
    duel.timing["w"] = {{.time_us_median = 100 * std::exp(log_ratio)}, {.time_us_median = 100}};
    duel.ratio["w"] = {{.log_ratio_median = log_ratio,
                        .log_ratio_low = log_ratio - half_width,
                        .log_ratio_high = log_ratio + half_width,
                        .confidence = 0.999,
                        .rounds = 60}};
    if (!elite.empty()) {
      duel.arms.push_back(elite);
      duel.timing["w"].push_back({.time_us_median = 100});
      duel.ratio["w"].push_back(PairedRatio(duel.ratio["w"].front()));
    }
    EvaluationRecord record;
    record.request_id = "2-duel-" + std::to_string(course.duels_sent++);
    record.request = {{"is_confirmation", is_confirmation}};
    record.duel = duel;
    course.duels.push_back(record);
  }

  /// Duels of the same figures until the candidate ends; how many of each kind it took.
  std::pair<int, int> duel_to_the_end(double log_ratio, double half_width) {
    int first = 0, confirming = 0;
    for (auto step = next(); std::holds_alternative<NeedsDuel>(step); step = next()) {
      const bool is_confirmation = std::get<NeedsDuel>(step).is_confirmation;
      ++(is_confirmation ? confirming : first);
      duel(log_ratio, half_width, is_confirmation);
    }
    return {first, confirming};
  }

  std::string status() const { return std::get<Ends>(next()).outcome.status; }

  Grid grid;
  std::vector<Champion> champions{{.workload = "w", .ordinal = 1, .candidate_id = "old", .speedup = 1}};
  EliteRule rule;
  Course course;
};

}  // namespace

TEST_CASE("a gain that one duel proves takes one duel and one confirmation") {
  Case one;
  CHECK(one.duel_to_the_end(-0.05, 0.01) == std::pair{1, 1});
  CHECK(one.status() == "improved");
}

TEST_CASE("a gain that one duel cannot prove is proven by several, and confirmed by as many") {
  Case one;
  CHECK(one.duel_to_the_end(-0.02, 0.025) == std::pair{3, 3});  // 0.025 / sqrt(3) < 0.02 - 0.005
  CHECK(one.status() == "improved");
}

TEST_CASE("what looks faster and never proves it ends as a tie after the last look") {
  Case one;
  CHECK(one.duel_to_the_end(-0.01, 0.05) == std::pair{EliteRule{}.looks_max, 0});
  CHECK(one.status() == "tie");
}

TEST_CASE("what does not look faster is dueled once") {
  Case one;
  CHECK(one.duel_to_the_end(0.01, 0.05) == std::pair{1, 0});
  CHECK(one.status() == "tie");
  Case smaller;  // than a gain worth a change
  CHECK(smaller.duel_to_the_end(-0.004, 0.05) == std::pair{1, 0});
}

TEST_CASE("duels that disagree prove less than their intervals say") {
  Case one;
  one.duel(-0.04, 0.02);
  one.duel(-0.01, 0.005);
  one.duel(-0.16, 0.02);
  REQUIRE(std::holds_alternative<NeedsDuel>(one.next()));
  CHECK_FALSE(std::get<NeedsDuel>(one.next()).is_confirmation);
}

TEST_CASE("a gain that its confirmations do not repeat is not confirmed") {
  Case one;
  one.duel(-0.02, 0.02);
  one.duel(-0.03, 0.02);
  one.duel(0.01, 0.02, true);
  REQUIRE(std::holds_alternative<NeedsDuel>(one.next()));  // one more confirmation was fixed
  one.duel(0.01, 0.02, true);
  CHECK(one.status() == "not_confirmed");
}

TEST_CASE("exact times decide at once") {
  Case one;
  one.rule.needs_confirmation = false;
  CHECK(one.duel_to_the_end(-0.004, 0) == std::pair{1, 0});
  CHECK(one.status() == "tie");
}

TEST_CASE("of modelled times the champion is the fastest told, by however little") {
  Case one;
  one.rule.needs_confirmation = false;
  const auto wins = [&one](double own_us, double champion_us) {
    one.course.duels.clear();
    one.duel(-0.001, 0);
    one.course.duels.back().duel->timing["w"].front() = {.time_us_median = own_us, .is_modelled = true};
    one.champions.front().timing = {.time_us_median = champion_us, .is_modelled = true};
    return std::get<Ends>(one.next()).outcome.champions.size();
  };
  CHECK(wins(51.79, 51.80) == 1);
  CHECK(wins(51.79, 51.79) == 0);
  CHECK(wins(51.80, 51.79) == 0);
}

TEST_CASE("what came too late for its cell is champion where its modelled time is the least") {
  Case one;
  one.rule.needs_confirmation = false;
  one.duel(0.01, 0);
  one.course.duels.back().duel->timing["w"].front() = {.time_us_median = 50, .is_modelled = true};
  one.champions.front().timing = {.time_us_median = 51, .is_modelled = true};
  Elite newer{.cell = k_cell, .ordinal = 3, .candidate_id = "newer", .fitness = 2, .speedup = 2};
  one.grid.put(newer);
  const Outcome outcome = std::get<Ends>(one.next()).outcome;
  CHECK(outcome.status == "tie");
  CHECK(outcome.champions.size() == 1);
}

TEST_CASE("a baseline told after a slower seed takes one confirmation, in which it meets itself") {
  Case one;
  one.grid = Grid{};
  one.course.record.id = "old";
  one.champions = {{.workload = "w", .ordinal = 1, .candidate_id = "slow", .speedup = 0.06}};
  one.duel(0, 0.001);
  const auto meets_slow = [](EvaluationRecord& record) {
    record.duel->arms.push_back("slow");
    record.duel->timing["w"].push_back({.time_us_median = 1700});
    record.duel->ratio["w"].push_back({.log_ratio_median = -2.8,
                                       .log_ratio_low = -2.81,
                                       .log_ratio_high = -2.79,
                                       .confidence = 0.999,
                                       .rounds = 60});
  };
  meets_slow(one.course.duels.back());
  REQUIRE(std::holds_alternative<NeedsDuel>(one.next()));
  const auto need = std::get<NeedsDuel>(one.next());
  CHECK(need.is_confirmation);
  CHECK(need.arms == std::vector<std::string>{"old", "slow"});
  one.duel(0, 0.001, true);
  meets_slow(one.course.duels.back());
  const Outcome outcome = std::get<Ends>(one.next()).outcome;
  CHECK(outcome.champions.size() == 1);
  CHECK(outcome.status == "added");
}

TEST_CASE("a faster candidate is dueled as often as the elite of its cell changes under it") {
  Case one;
  one.duel(-0.4, 0.01);
  one.duel(-0.4, 0.01, true);
  std::string elite;
  for (unsigned rival = 1; rival <= k_duels_max; ++rival) {  // each came first, and is slower
    elite = "rival " + std::to_string(rival);
    one.grid.put({.cell = k_cell,
                  .ordinal = 2 + rival,
                  .candidate_id = elite,
                  .fitness = 1.0 + 0.01 * rival,
                  .speedup = 1.0 + 0.01 * rival});
    REQUIRE(std::holds_alternative<NeedsDuel>(one.next()));
    one.duel(-0.4, 0.01, false, elite);
    REQUIRE(std::holds_alternative<NeedsDuel>(one.next()));
    one.duel(-0.4, 0.01, true, elite);
  }
  CHECK(one.status() == "improved");
}

TEST_CASE("a candidate whose duels say nothing of the elite that stays is not dueled for ever") {
  Case one;
  one.rule.looks_max = 1000;
  CHECK(one.duel_to_the_end(-0.01, 5.0).first == k_duels_max);
}
