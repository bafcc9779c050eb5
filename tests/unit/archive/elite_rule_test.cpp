// SPDX-License-Identifier: Apache-2.0
// The elite rule: every status has evidence that earns it, and no sequence of noisy duels loses a cell's
// best.
#include "archive/elite_rule.h"

#include <algorithm>
#include <limits>

#include "engine/core/rng.h"
#include "tests/support/catch.h"
#include "tests/unit/archive/archive_samples.h"

using namespace kernelites;

namespace {

const std::string k_cell = "shared/fma/tile";

DuelEvidence against(const Elite& incumbent, double log_ratio, double half_width,
                     const std::string& duel_id) {
  return {.duel_id = duel_id,
          .is_passed = true,
          .speedup = incumbent.fitness * std::exp(-log_ratio),
          .incumbent_id = incumbent.candidate_id,
          .ratio = PairedRatio{.log_ratio_median = log_ratio,
                               .log_ratio_low = log_ratio - half_width,
                               .log_ratio_high = log_ratio + half_width,
                               .confidence = 0.999,
                               .rounds = 30},
          .worst_log_ratio = log_ratio};
}

/// Candidate 2 against elite 1 of fitness 2: evidence that is improved unless a test spoils it.
struct Contest {
  Contest() { grid.put(incumbent); }
  InsertStatus status() const { return decide_insert(grid, evidence, rule).status; }

  Elite incumbent = sample_elite(1, 2.0);
  Grid grid;
  EliteRule rule;
  Evidence evidence{.ordinal = 2,
                    .candidate_id = sample_candidate(2).id,
                    .is_passed = true,
                    .descriptors = {{"movement", "shared"}, {"compute", "fma"}, {"split", "tile"}},
                    .provenance = sample_provenance(),
                    .duel = against(incumbent, -0.1, 0.01, "first"),
                    .confirmation = against(incumbent, -0.08, 0.01, "second")};
};

}  // namespace

TEST_CASE("the first passing, timed candidate enters an empty cell with its measured speed-up") {
  Contest c;
  c.grid.remove(k_cell);
  const Decision decision = decide_insert(c.grid, c.evidence, c.rule);
  CHECK(decision.status == InsertStatus::added);
  CHECK(decision.elite->fitness == Approx(2 * std::exp(0.1)));
  CHECK(decision.elite->duel_id == "first");
  CHECK(decision.elite->cell == k_cell);
}

TEST_CASE("an incumbent is replaced on a significant, confirmed gain, and the confirming estimate is kept") {
  Contest c;
  const Decision decision = decide_insert(c.grid, c.evidence, c.rule);
  CHECK(decision.status == InsertStatus::improved);
  CHECK(decision.elite->fitness == Approx(2 * std::exp(0.08)));
  CHECK(decision.elite->duel_id == "second");
  CHECK(decision.elite->candidate_id == sample_candidate(2).id);
  CHECK(decision.elite->is_modelled);
}

TEST_CASE("a failed examination, duel or confirmation enters nowhere, not even an empty cell") {
  Contest c;
  c.evidence.confirmation->is_passed = false;
  CHECK(c.status() == InsertStatus::failed);
  c.grid.remove(k_cell);
  CHECK(c.status() == InsertStatus::failed);
  c = Contest();
  c.evidence.duel->is_passed = false;
  CHECK(c.status() == InsertStatus::failed);
  c = Contest();
  c.evidence.is_passed = false;
  CHECK(c.status() == InsertStatus::failed);
}

TEST_CASE("descriptors that name no cell leave a candidate unplaced") {
  Contest c;
  c.evidence.descriptors.erase("split");
  CHECK(c.status() == InsertStatus::unplaced);
}

TEST_CASE("a candidate without timing, or without a usable speed-up for an empty cell, is untimed") {
  Contest c;
  c.evidence.duel.reset();
  CHECK(c.status() == InsertStatus::untimed);
  c = Contest();
  c.grid.remove(k_cell);
  for (double speedup : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(), HUGE_VAL}) {
    c.evidence.duel->speedup = speedup;
    CHECK(c.status() == InsertStatus::untimed);
  }
}

TEST_CASE("a gain that is not significant keeps the incumbent") {
  Contest c;
  const auto check_tie = [&](double log_ratio, double half_width) {
    c.evidence.duel = against(c.incumbent, log_ratio, half_width, "first");
    CHECK(c.status() == InsertStatus::tie);
  };
  check_tie(0.1, 0.01);      // slower
  check_tie(0, 0);           // equal
  check_tie(-0.1, 0.1);      // perhaps faster
  check_tie(-0.006, 0.002);  // faster, but by less than half a percent
}

TEST_CASE("the null half-width of the device raises the threshold") {
  Contest c;
  c.evidence.duel = against(c.incumbent, -0.03, 0.005, "first");
  CHECK(c.status() == InsertStatus::improved);
  c.rule.null_half_width = 0.03;
  CHECK(c.status() == InsertStatus::tie);
}

TEST_CASE("an interval of too little confidence, of no rounds or with NaN proves nothing") {
  const auto check_nothing = [](auto spoil) {
    Contest c;
    spoil(*c.evidence.duel->ratio);
    CHECK(c.status() == InsertStatus::tie);
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  check_nothing([](PairedRatio& ratio) { ratio.confidence = 0.8; });
  check_nothing([](PairedRatio& ratio) { ratio.rounds = 0; });
  check_nothing([&](PairedRatio& ratio) { ratio.log_ratio_high = nan; });
  check_nothing([&](PairedRatio& ratio) { ratio.log_ratio_median = nan; });
  check_nothing([](PairedRatio& ratio) { ratio.log_ratio_median = 1; });  // outside its own interval
}

TEST_CASE("a significant gain without confirmation waits for one, unless times are exact") {
  Contest c;
  c.evidence.confirmation.reset();
  CHECK(c.status() == InsertStatus::unconfirmed);
  CHECK_FALSE(is_final(InsertStatus::unconfirmed));
  c.rule.needs_confirmation = false;
  CHECK(c.status() == InsertStatus::improved);
}

TEST_CASE("a confirmation that may be no gain keeps the incumbent") {
  Contest c;
  c.evidence.confirmation = against(c.incumbent, -0.01, 0.02, "second");
  CHECK(c.status() == InsertStatus::not_confirmed);
}

TEST_CASE("a duel against a former incumbent decides nothing") {
  Contest c;
  c.evidence.duel->incumbent_id = sample_candidate(7).id;
  CHECK(c.status() == InsertStatus::incumbent_changed);
  c = Contest();
  c.evidence.confirmation->incumbent_id = sample_candidate(7).id;
  CHECK(c.status() == InsertStatus::incumbent_changed);
  c = Contest();
  c.evidence.duel->ratio.reset();  // the cell was empty when the duel was asked for
  CHECK(c.status() == InsertStatus::incumbent_changed);
}

TEST_CASE("modelled and measured times are never compared") {
  Contest c;
  c.evidence.provenance.device.is_virtual = false;
  CHECK(c.status() == InsertStatus::incomparable);
}

TEST_CASE("a workload that loses more than allowed stops a total gain") {
  Contest c;
  c.evidence.duel->worst_log_ratio = 0.05;
  CHECK(c.status() == InsertStatus::improved);
  c.rule.workload_loss_max = 0.02;
  CHECK(c.status() == InsertStatus::regression);
}

TEST_CASE("an elite does not replace itself") {
  Contest c;
  c.evidence.candidate_id = c.incumbent.candidate_id;
  CHECK(c.status() == InsertStatus::tie);
}

TEST_CASE("every status has a name of its own") {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(InsertStatus::added); ++i)
    names.push_back(insert_status_name(static_cast<InsertStatus>(i)));
  CHECK(names.front() == "failed");
  CHECK(names.back() == "added");
  std::sort(names.begin(), names.end());
  CHECK(std::unique(names.begin(), names.end()) == names.end());
}

TEST_CASE("pooled ratios weigh workloads and add half-widths in squares") {
  Duel duel = sample_duel(-0.1, 0.03);
  duel.ratio["tall"] = sample_duel(0.2, 0.04).ratio["wide"];
  const auto pooled = pooled_ratio(duel, "incumbent", {{"wide", 3.0}, {"tall", 1.0}, {"unused", 0.0}});
  REQUIRE(pooled);
  CHECK(pooled->log_ratio_median == Approx((3 * -0.1 + 0.2) / 4));
  CHECK(pooled->log_ratio_high - pooled->log_ratio_median == Approx(std::hypot(0.09, 0.04) / 4));
  CHECK(pooled->rounds == 30);
  CHECK(pooled->confidence == 0.999);
  CHECK(worst_log_ratio(duel, "incumbent", {{"wide", 3.0}, {"tall", 1.0}}) == Approx(0.2));
}

TEST_CASE("there is no pooled ratio for a missing arm, a missing workload or no weight") {
  const Duel duel = sample_duel(-0.1);
  CHECK_FALSE(pooled_ratio(duel, "stranger", {{"wide", 1.0}}));
  CHECK_FALSE(pooled_ratio(duel, "candidate", {{"wide", 1.0}}));
  CHECK_FALSE(pooled_ratio(duel, "incumbent", {{"wide", 1.0}, {"tall", 1.0}}));
  CHECK_FALSE(pooled_ratio(duel, "incumbent", {}));
}

TEST_CASE("the evidence of a duel is its speed-up over the baseline and its ratio to the incumbent") {
  const DuelEvidence evidence = duel_evidence("d", sample_duel(-0.1), "x", {{"wide", 1.0}});
  CHECK(evidence.is_passed);
  CHECK(evidence.speedup == Approx(std::exp(0.1)));
  CHECK(evidence.incumbent_id == "x");
  CHECK(evidence.ratio->log_ratio_median == -0.1);
}

TEST_CASE("no sequence of noisy duels lowers a cell's fitness or, in truth, its speed") {
  const EliteRule rule;
  int replaced = 0;
  for (std::uint64_t run = 0; run < 50; ++run) {
    Rng rng(run);
    const auto noise = [&](double sigma) {  // Irwin-Hall: near normal, bounded
      double sum = -6;
      for (int i = 0; i < 12; ++i) sum += rng.uniform();
      return sigma * sum;
    };
    Grid grid;
    std::map<std::string, double> log_time;  // the truth, which the rule does not see
    for (std::uint64_t ordinal = 1; ordinal <= 100; ++ordinal) {
      Evidence evidence{.ordinal = ordinal,
                        .candidate_id = std::to_string(ordinal),
                        .is_passed = rng.uniform() < 0.8,
                        .descriptors = {{"movement", "shared"}, {"compute", "fma"}, {"split", "tile"}},
                        .provenance = sample_provenance()};
      log_time[evidence.candidate_id] = noise(0.05);
      const Elite* incumbent = grid.find(k_cell);
      const double truth =
          log_time[evidence.candidate_id] - (incumbent ? log_time[incumbent->candidate_id] : 0);
      const double sigma = 0.01;  // of one duel's estimate; the interval covers four of them
      const Elite reference = incumbent ? *incumbent : Elite{.candidate_id = "none", .fitness = 1};
      evidence.duel = against(reference, truth + noise(sigma), 4 * sigma, std::to_string(ordinal) + "a");
      if (rng.uniform() < 0.9)
        evidence.confirmation =
            against(reference, truth + noise(sigma), 4 * sigma, std::to_string(ordinal) + "b");
      const Decision decision = decide_insert(grid, evidence, rule);
      if (!decision.elite) continue;
      if (incumbent) {
        ++replaced;
        CHECK(decision.elite->fitness > incumbent->fitness);
        CHECK(truth < 0);
      }
      grid.put(*decision.elite);
    }
    REQUIRE(grid.elite_count() == 1);
  }
  CHECK(replaced > 50);  // the property is not vacuous
}

TEST_CASE("duels together weigh by their precision and prove more than each of them") {
  const PairedRatio fine{.log_ratio_median = -0.02,
                         .log_ratio_low = -0.03,
                         .log_ratio_high = -0.01,
                         .confidence = 0.999,
                         .rounds = 60};
  PairedRatio coarse = fine;
  coarse.log_ratio_median = -0.023;
  coarse.log_ratio_low = -0.053;
  coarse.log_ratio_high = 0.007;
  coarse.confidence = 0.98;
  const PairedRatio both = combined_ratio({fine, coarse});
  CHECK(both.log_ratio_median == Approx((-0.02 * 9 - 0.023) / 10));
  CHECK(both.log_ratio_high - both.log_ratio_median == Approx(0.03 / std::sqrt(10.0)));
  CHECK(both.confidence == 0.98);
  CHECK(both.rounds == 120);
  CHECK(combined_ratio({coarse}).log_ratio_low == coarse.log_ratio_low);
}

TEST_CASE("duels that scatter more than their intervals say widen what they say together") {
  const auto at = [](double log_ratio) {
    return PairedRatio{.log_ratio_median = log_ratio,
                       .log_ratio_low = log_ratio - 0.003,
                       .log_ratio_high = log_ratio + 0.003,
                       .confidence = 0.999,
                       .rounds = 60};
  };
  const PairedRatio calm = combined_ratio({at(-0.02), at(-0.02)});
  const PairedRatio torn = combined_ratio({at(-0.03), at(-0.01)});
  CHECK(torn.log_ratio_median == Approx(calm.log_ratio_median));
  CHECK(torn.log_ratio_high - torn.log_ratio_median > 0.02);
  CHECK(calm.log_ratio_high - calm.log_ratio_median < 0.0025);
}
