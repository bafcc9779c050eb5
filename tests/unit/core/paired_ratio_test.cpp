// SPDX-License-Identifier: Apache-2.0
// Estimates and intervals of paired ratios, alone and looked at repeatedly.
#include "engine/core/paired_ratio.h"

#include <cmath>
#include <functional>

#include "engine/core/rng.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

/// A sum of three uniform numbers: symmetric, standard deviation 1.
double noise(Rng& rng) { return 2 * (rng.uniform() + rng.uniform() + rng.uniform() - 1.5); }

struct Samples {
  std::vector<double> candidate, arm;
};

/// Rounds of two arms that share a drifting clock; each has noise of its own, `spread` of its time, and one round in
/// twenty is disturbed.
Samples draw(Rng& rng, int rounds, double ratio, double spread) {
  Samples samples;
  for (int i = 0; i < rounds; ++i) {
    const double drift = 1 + 0.2 * std::sin(0.1 * i);
    const auto time = [&](double true_time) {
      const double disturbance = rng.below(20) == 0 ? 1.1 : 1.0;
      return true_time * drift * disturbance * (1 + spread * noise(rng));
    };
    samples.candidate.push_back(time(100 * ratio));
    samples.arm.push_back(time(100));
  }
  return samples;
}

/// What a duel of at most `rounds_max` rounds ends with.
PairedRatio look_until_decided(Rng& rng, int rounds_max, double ratio, double spread) {
  const LookPlan looks(rounds_max, 0.999);
  const Samples samples = draw(rng, rounds_max, ratio, spread);
  for (int rounds = 1;; ++rounds) {
    if (!looks.is_look(rounds)) continue;
    const auto count = static_cast<std::size_t>(rounds);
    const PairedRatio seen = paired_ratio(std::span(samples.candidate).first(count),
                                          std::span(samples.arm).first(count), looks.look_confidence());
    if (rounds == rounds_max || is_decided(seen, 0.005)) return seen;
  }
}

}  // namespace

TEST_CASE("a paired ratio is not moved by what both arms share") {
  // The clock drifts by 2x over the rounds; the candidate is always 10 % faster.
  std::vector<double> candidate, arm;
  for (int i = 0; i < 40; ++i) {
    const double drift = 1.0 + i / 40.0;
    arm.push_back(100 * drift);
    candidate.push_back(90 * drift);
  }
  const PairedRatio ratio = paired_ratio(candidate, arm, 0.95);
  CHECK(ratio.log_ratio_median == Approx(std::log(0.9)));
  CHECK(ratio.log_ratio_high < std::log(0.91));
  CHECK(ratio.rounds == 40);
}

TEST_CASE("the interval is that of the signed-rank table") {
  // n = 10, 95 %: the 9th smallest and the 9th largest of 55 pairwise means (Hollander and Wolfe, table A.4: P(W <= 8)
  // = 0.0244).
  std::vector<double> candidate, arm(10, 1.0);
  for (int i = 0; i < 10; ++i) candidate.push_back(std::exp(static_cast<double>(1 << i)));
  std::vector<double> means;
  for (int i = 0; i < 10; ++i)
    for (int j = i; j < 10; ++j) means.push_back(((1 << i) + (1 << j)) / 2.0);
  std::sort(means.begin(), means.end());
  const PairedRatio ratio = paired_ratio(candidate, arm, 0.95);
  CHECK(ratio.log_ratio_low == Approx(means[8]));
  CHECK(ratio.log_ratio_high == Approx(means[55 - 9]));
  CHECK(ratio.log_ratio_median == Approx(means[27]));
}

TEST_CASE("too few rounds for a confidence say which one they give") {
  const std::vector<double> candidate{1.0, 1.1, 1.2}, arm{1, 1, 1};
  const PairedRatio ratio = paired_ratio(candidate, arm, 0.999);
  CHECK(ratio.confidence == Approx(0.75));  // all three differences on one side: 2 / 2^3
  CHECK(ratio.log_ratio_low == Approx(0).margin(1e-12));
  CHECK(ratio.log_ratio_high == Approx(std::log(1.2)));
}

TEST_CASE("the exact distribution and its normal limit agree where one gives way to the other") {
  Rng rng(7);
  const Samples samples = draw(rng, 61, 1, 0.01);
  const auto half_width = [&](std::size_t rounds) {
    const PairedRatio r =
        paired_ratio(std::span(samples.candidate).first(rounds), std::span(samples.arm).first(rounds), 0.999);
    return (r.log_ratio_high - r.log_ratio_low) / 2;
  };
  CHECK(half_width(61) == Approx(half_width(60)).epsilon(0.1));
}

TEST_CASE("the interval of equal noisy arms covers zero in about 95 of 100 duels") {
  int covered = 0;
  for (std::uint64_t duel = 0; duel < 400; ++duel) {
    Rng rng(duel);
    const Samples samples = draw(rng, 40, 1, 0.01);
    const PairedRatio ratio = paired_ratio(samples.candidate, samples.arm, 0.95);
    covered += ratio.log_ratio_low <= 0 && ratio.log_ratio_high >= 0;
  }
  CHECK(covered >= 366);  // 380 expected, standard deviation 4.4
  CHECK(covered <= 394);
}

TEST_CASE("of 500 duels of equal arms that are looked at up to three times, at most a few call one faster") {
  int called = 0;
  for (std::uint64_t duel = 0; duel < 500; ++duel) {
    Rng rng(1000 + duel);
    const PairedRatio ratio = look_until_decided(rng, 120, 1, 0.01);
    called += ratio.log_ratio_high < 0 || ratio.log_ratio_low > 0;
  }
  CHECK(called <= 3);  // 0.5 expected; more than 3 in one of 500 runs of this test, and its draws are fixed
}

TEST_CASE(
    "one percent faster is proven to be half a percent in 38 of 40 duels whose rounds scatter by as much") {
  const double threshold = std::log1p(-0.005);
  int found_gain = 0, found_none = 0;
  for (std::uint64_t duel = 0; duel < 40; ++duel) {
    Rng rng(2000 + duel);
    found_gain += look_until_decided(rng, 200, 0.99, 0.005).log_ratio_high < threshold;
    found_none += look_until_decided(rng, 200, 1.01, 0.005).log_ratio_low > threshold;
  }
  CHECK(found_gain >= 38);
  CHECK(found_none >= 38);
}

TEST_CASE("looks come after 30, 60, 120 rounds and the last, each at a share of nine tenths of the error") {
  const LookPlan looks(200, 0.999);
  for (const int rounds : {30, 60, 120, 200}) CHECK(looks.is_look(rounds));
  for (const int rounds : {1, 29, 31, 199}) CHECK_FALSE(looks.is_look(rounds));
  CHECK(looks.look_confidence() == Approx(1 - 0.9 * 0.001 / 4));
  CHECK(LookPlan(30, 0.95).look_confidence() == Approx(1 - 0.9 * 0.05));
  CHECK(LookPlan(2, 0.95).is_look(2));
  CHECK(LookPlan(2, 0.95).look_confidence() == Approx(0.95));  // no earlier look to pay for
}

TEST_CASE(
    "who is hopeless is looked at after the fewest rounds that can prove it with a tenth of the error") {
  const LookPlan looks(60, 0.999);
  REQUIRE(looks.hopeless_look() == 15);  // 2^-14 < 0.0001 < 2^-13
  CHECK(looks.hopeless_confidence() == Approx(0.9999));
  CHECK(looks.first_look() == 15);
  const std::vector<double> slow(15, 160.0), fast(15, 100.0);
  const PairedRatio ratio = paired_ratio(slow, fast, looks.hopeless_confidence());
  CHECK(ratio.confidence >= looks.hopeless_confidence());
  CHECK(LookPlan(10, 0.999).hopeless_look() == 0);
  CHECK(looks.is_hopeless_look(15));
  // The timer asks before the first round too: nothing may be looked at there, however few rounds there will be.
  for (const int rounds_max : {1, 2, 10, 15, 16, 29, 30, 60})
    CHECK_FALSE(LookPlan(rounds_max, 0.999).is_hopeless_look(0));
  CHECK(LookPlan(10, 0.999).first_look() == 10);
}

TEST_CASE("a candidate is hopeless at 1.5 times, an arm at four, as far as the interval proves it") {
  const auto interval = [](double low, double high) {
    return PairedRatio{.log_ratio_low = low, .log_ratio_high = high};
  };
  CHECK(is_candidate_hopeless(interval(std::log(1.51), 3)));
  CHECK_FALSE(is_candidate_hopeless(interval(std::log(1.49), 3)));
  CHECK(is_arm_hopeless(interval(-3, -std::log(4.01))));
  CHECK_FALSE(is_arm_hopeless(interval(-3, -std::log(3.99))));
}

TEST_CASE("a duel is decided when its interval lies on one side of the gain that is asked for") {
  const auto interval = [](double low, double high) {
    return PairedRatio{.log_ratio_low = low, .log_ratio_high = high};
  };
  CHECK(is_decided(interval(-0.03, -0.01), 0.005));
  CHECK(is_decided(interval(0.0001, 0.03), 0.005));
  CHECK(is_decided(interval(-0.004, 0.0015), 0.005));
  CHECK_FALSE(is_decided(interval(-0.01, 0.001), 0.005));
  CHECK_FALSE(is_decided(interval(-0.01, -0.001), 0.005));  // faster for sure, by enough perhaps
}
