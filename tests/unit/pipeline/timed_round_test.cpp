// SPDX-License-Identifier: Apache-2.0
// Launches of a sample, and rounds that are thrown away.
#include "evaluators/worker/pipeline/timed_round.h"

#include "tests/support/catch.h"

using namespace kernelites::worker;

namespace {

ExecutorClient::Ran ran(double low, double high) {
  return {.elapsed_us = 10,
          .samples = 1,
          .late = 0,
          .clock_ghz = (low + high) / 2,
          .clock_ghz_min = low,
          .clock_ghz_max = high};
}

}  // namespace

TEST_CASE("short kernels are launched more often for one sample, long ones once") {
  CHECK(launches_per_sample(10) == 32);
  CHECK(launches_per_sample(100) == 6);
  CHECK(launches_per_sample(2000) == 1);
  CHECK(launches_per_sample(0) == 1);
}

TEST_CASE("a round in which the clock moved is thrown away") {
  RoundClock clock(20);
  CHECK(clock.accepts({ran(1.97, 1.98), ran(1.98, 1.98)}));
  CHECK_FALSE(clock.accepts({ran(1.98, 1.98), ran(1.755, 1.98)}));  // within an arm
  CHECK(clock.pause_ms() == 5);
  CHECK_FALSE(clock.accepts({ran(1.98, 1.98), ran(1.9, 1.9)}));  // between arms
  CHECK(clock.pause_ms() == 10);
  CHECK(clock.accepts({ran(1.96, 1.98), ran(1.97, 1.98)}));
  CHECK(clock.discarded() == 2);
  CHECK(clock.usual_ghz() == Approx(1.975).margin(0.006));
}

TEST_CASE("a round far below the usual clock is thrown away although its probes agree") {
  RoundClock clock(20);
  CHECK(clock.accepts({ran(1.98, 1.98)}));
  CHECK_FALSE(clock.accepts({ran(1.2, 1.2)}));
}

TEST_CASE("a device whose clock never holds still is timed all the same") {
  RoundClock clock(8);
  int accepted = 0;
  for (int i = 0; i < 10; ++i) accepted += clock.accepts({ran(1.5, 1.9)});
  CHECK(clock.discarded() == 2);
  CHECK(accepted == 8);
}

TEST_CASE("an unknown clock throws nothing away") {
  RoundClock clock(8);
  CHECK(clock.accepts({ran(0, 0)}));
  CHECK(clock.usual_ghz() == 0);
}
