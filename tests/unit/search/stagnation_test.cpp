// SPDX-License-Identifier: Apache-2.0
// The ladder: rungs, what they do, the way back, and the forecast.
#include "engine/search/stagnation.h"

#include "tests/support/catch.h"

using namespace kernelites;

namespace {

Stagnation after(int barren, StagnationSettings settings = {.patience = 10}) {
  Stagnation stagnation(settings);
  stagnation.over(1, 0.01, 1);
  stagnation.improved(1);
  for (int i = 0; i < barren; ++i) stagnation.over(static_cast<std::uint64_t>(i + 2), 0.01, 1);
  return stagnation;
}

}  // namespace

TEST_CASE("each rung comes after as many variations without a faster elite") {
  CHECK(after(9).rung() == Rung::none);
  CHECK(after(10).rung() == Rung::nudge);
  CHECK(after(20).rung() == Rung::redirect);
  CHECK(after(30).rung() == Rung::switch_mix);
  CHECK(after(49).rung() == Rung::restart);
  CHECK(after(50).rung() == Rung::stop);
  CHECK(after(5000).rung() == Rung::stop);
}

TEST_CASE("a run that does not stop begins the ladder again") {
  const StagnationSettings settings{.patience = 10, .stops = false};
  CHECK(after(49, settings).rung() == Rung::restart);
  CHECK(after(50, settings).rung() == Rung::none);
  CHECK(after(65, settings).rung() == Rung::nudge);
}

TEST_CASE("a ladder that is off has no rungs") {
  CHECK(after(500, {.is_on = false, .patience = 10}).rung() == Rung::none);
}

TEST_CASE("a faster elite leads back to the ground, and what was asked after it still counts") {
  Stagnation stagnation = after(40);
  stagnation.improved(30);
  CHECK(stagnation.barren() == 11);  // 31 to 41
  CHECK(stagnation.rung() == Rung::nudge);
  stagnation.over(29, 0, 0);  // a late one
  CHECK(stagnation.barren() == 11);
}

TEST_CASE("any order of the same ends gives the same rung") {
  Stagnation stagnation({.patience = 10});
  for (std::uint64_t i = 35; i > 0; --i) {
    stagnation.over(i, 0, 0);
    if (i == 20) stagnation.improved(20);
  }
  CHECK(stagnation.barren() == 15);
}

TEST_CASE("a higher rung keeps what the lower ones do, each now and then") {
  const auto shares = [](Rung rung) {
    Rng rng(1);
    Impulse sum;
    int nudged = 0, redirected = 0, restarted = 0;
    for (int i = 0; i < 1000; ++i) {
      const Impulse one = impulse_of(rung, rng);
      nudged += one.is_nudged;
      redirected += one.is_redirected;
      restarted += one.is_restarted;
      sum.floor = one.floor;
    }
    return std::vector<double>{nudged / 1000.0, redirected / 1000.0, sum.floor, restarted / 1000.0};
  };
  CHECK(shares(Rung::none) == std::vector<double>{0, 0, 0, 0});
  CHECK(shares(Rung::nudge) == std::vector<double>{1, 0, 0, 0});
  CHECK(shares(Rung::redirect)[1] == Approx(0.5).margin(0.1));
  CHECK(shares(Rung::redirect)[2] == 0);
  CHECK(shares(Rung::switch_mix)[2] > 0.5);
  CHECK(shares(Rung::switch_mix)[3] == 0);
  CHECK(shares(Rung::restart)[3] == Approx(0.5).margin(0.1));
  CHECK(shares(Rung::restart)[1] == Approx(0.5).margin(0.1));
}

TEST_CASE("the forecast says variations, dollars and seconds, and grows while nothing comes") {
  CHECK(after(3).forecast().variations == 0);  // too early
  const Forecast early = after(20).forecast(), late = after(200).forecast();
  CHECK(early.variations > 0);
  CHECK(late.variations > early.variations);
  CHECK(late.usd == Approx(0.01 * late.variations));
  CHECK(late.device_s == Approx(late.variations));
}

TEST_CASE("the forecast of records is the middle: half of them come before it") {
  // The fastest of independent draws: the n-th is the fastest so far with chance 1/n.
  Rng rng(9);
  int before = 0, known = 0;
  for (int run = 0; run < 3000; ++run) {
    Stagnation stagnation;
    const std::uint64_t until = 60;
    double best = 0;
    for (std::uint64_t n = 1; n <= until; ++n) {
      const double value = rng.uniform();
      stagnation.over(n, 0, 0);
      if (value > best) best = value, stagnation.improved(n);
    }
    const double wait = stagnation.forecast().variations;
    for (int n = 1; n <= static_cast<int>(wait); ++n)
      if (rng.uniform() > best) {
        ++before;
        break;
      }
    ++known;
  }
  CHECK(static_cast<double>(before) / known == Approx(0.5).margin(0.12));
}
