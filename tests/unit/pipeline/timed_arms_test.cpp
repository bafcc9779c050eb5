// SPDX-License-Identifier: Apache-2.0
// Who is left out of a duel because it is hopeless, and what is known of it afterwards.
#include "evaluators/worker/pipeline/timed_arms.h"

#include <algorithm>
#include <cmath>

#include "engine/core/paired_ratio.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

constexpr double k_confidence = 0.9999;

/// Rounds of arms that take so many microseconds, all disturbed alike.
TimedArms timed(const std::vector<double>& time_us, int rounds = 15) {
  TimedArms arms(time_us.size());
  for (int round = 0; round < rounds; ++round)
    for (std::size_t arm = 0; arm < time_us.size(); ++arm)
      arms.time_us[arm].push_back(time_us[arm] * (1 + 0.01 * (round % 3)));
  return arms;
}

}  // namespace

TEST_CASE("an arm that is hopeless against the candidate is timed no more") {
  TimedArms arms = timed({100, 10000, 300, 120, 100});
  CHECK_FALSE(arms.leave_out_hopeless({true, false, false, false, true}, k_confidence));
  CHECK(arms.present() == std::vector<std::size_t>{0, 2, 3, 4});
  CHECK(arms.stopped_after == std::vector<int>{0, 15, 0, 0, 0});
}

TEST_CASE("the ratio of an arm that was left out is that of the rounds it took part in") {
  TimedArms arms = timed({100, 10000});
  (void)arms.leave_out_hopeless({true, false}, k_confidence);
  for (int round = 0; round < 15; ++round) arms.time_us[0].push_back(5000);
  const PairedRatio ratio = arms.ratio(1, k_confidence);
  CHECK(ratio.rounds == 15);
  CHECK(ratio.log_ratio_median == Approx(-std::log(100)));
}

TEST_CASE("a candidate that is hopeless against every other arm ends the duel, its own copy aside") {
  TimedArms all = timed({10000, 100, 200, 10000});
  CHECK(all.leave_out_hopeless({true, false, false, true}, k_confidence));
  CHECK(all.stopped_after == std::vector<int>{15, 0, 0, 0});
  TimedArms but_one = timed({10000, 100, 9000});
  CHECK_FALSE(but_one.leave_out_hopeless({true, false, false}, k_confidence));
  TimedArms null_duel = timed({100, 100});
  CHECK_FALSE(null_duel.leave_out_hopeless({true, true}, k_confidence));
  TimedArms alone = timed({100});
  CHECK_FALSE(alone.leave_out_hopeless({true}, k_confidence));
}

TEST_CASE("rounds that scatter across one and a half times prove nobody hopeless") {
  TimedArms arms = timed({200, 100});
  arms.time_us[0][7] = 120;  // of the 15 differences all must say so
  CHECK_FALSE(arms.leave_out_hopeless({true, false}, k_confidence));
}

namespace {

/// Rounds that a duel takes of arms that take so many microseconds, with a look after each as stage time has it.
int rounds_taken(const std::vector<double>& us, int rounds_max) {
  const LookPlan looks(rounds_max, 0.999);
  TimedArms arms(us.size());
  std::vector<bool> is_itself(us.size());
  is_itself[0] = true;
  int rounds = 0;
  while (rounds < rounds_max && !arms.is_over) {
    for (const std::size_t arm : arms.present())
      arms.time_us[arm].push_back(us[arm] * (1 + 0.01 * (rounds % 3)));
    arms.look(looks, ++rounds, is_itself);
  }
  return rounds;
}

}  // namespace

TEST_CASE("a duel of any length ends at its looks: where all is decided, or nobody is left to compare with") {
  for (const int rounds_max : {1, 2, 15, 16, 29, 30, 60, 100}) {
    INFO(rounds_max);
    CHECK(rounds_taken({100, 100}, rounds_max) == std::min(rounds_max, 30));
    CHECK(rounds_taken({100}, rounds_max) == std::min(rounds_max, 30));
    CHECK(rounds_taken({10000, 100}, rounds_max) == std::min(rounds_max, 15));  // the candidate is hopeless
    CHECK(rounds_taken({100, 10000}, rounds_max) == std::min(rounds_max, 15));  // the only other one is
    CHECK(rounds_taken({100, 10000, 100}, rounds_max) == std::min(rounds_max, 30));
  }
}
