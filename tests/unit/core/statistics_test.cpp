// SPDX-License-Identifier: Apache-2.0
// Order statistics and paired ratios.
#include "engine/core/statistics.h"

#include <cmath>

#include "engine/core/rng.h"
#include "tests/support/catch.h"

using namespace kernelites;

TEST_CASE("the median of an even count lies between the middle two") {
  CHECK(median({4, 1, 3, 2}) == Approx(2.5));
}

TEST_CASE("the interquartile mean leaves out a quarter of the samples at either end") {
  CHECK(interquartile_mean({7}) == 7);
  CHECK(interquartile_mean({1, 2, 3}) == 2);
  CHECK(interquartile_mean({900, 2, 4, -50}) == 3);
}

TEST_CASE("quantiles interpolate") { CHECK(quantile({0, 10}, 0.25) == Approx(2.5)); }
