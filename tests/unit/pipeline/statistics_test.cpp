// SPDX-License-Identifier: Apache-2.0
// Order statistics and paired ratios.
#include "evaluators/worker/pipeline/statistics.h"

#include <cmath>

#include "engine/core/rng.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

TEST_CASE("the median of an even count lies between the middle two") {
  CHECK(median({4, 1, 3, 2}) == Approx(2.5));
}

TEST_CASE("quantiles interpolate") { CHECK(quantile({0, 10}, 0.25) == Approx(2.5)); }

TEST_CASE("a paired ratio is not moved by what both arms share") {
  // The clock drifts by 2x over the rounds; the candidate is always 10 % faster.
  std::vector<double> candidate, arm;
  for (int i = 0; i < 40; ++i) {
    const double drift = 1.0 + i / 40.0;
    arm.push_back(100 * drift);
    candidate.push_back(90 * drift);
  }
  const PairedRatio ratio = paired_ratio(candidate, arm, 0.95, 1);
  CHECK(ratio.log_ratio_median == Approx(std::log(0.9)));
  CHECK(ratio.log_ratio_high < std::log(0.91));
  CHECK(ratio.rounds == 40);
}

TEST_CASE("the interval of equal noisy arms covers zero in about 95 of 100 duels") {
  int covered = 0;
  for (std::uint64_t duel = 0; duel < 200; ++duel) {
    Rng rng(duel);
    std::vector<double> candidate, arm;
    for (int i = 0; i < 40; ++i) {
      candidate.push_back(100 + rng.uniform());
      arm.push_back(100 + rng.uniform());
    }
    const PairedRatio ratio = paired_ratio(candidate, arm, 0.95, duel);
    covered += ratio.log_ratio_low <= 0 && ratio.log_ratio_high >= 0;
  }
  CHECK(covered >= 180);
  CHECK(covered <= 199);
}
