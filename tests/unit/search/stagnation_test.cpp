// SPDX-License-Identifier: Apache-2.0
// When a run is over because nothing comes out, what begins the count again, and the forecast.
#include "engine/search/stagnation.h"

#include "engine/core/rng.h"
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

TEST_CASE("a run is over after as many variations without a faster elite as it has patience") {
  CHECK_FALSE(after(9).is_over_due());
  CHECK(after(10).is_over_due());
  CHECK(after(5000).is_over_due());
  CHECK_FALSE(after(500, {.is_on = false, .patience = 10}).is_over_due());
}

TEST_CASE("a faster elite begins the count again, and what was asked after it still counts") {
  Stagnation stagnation = after(40);
  stagnation.improved(32);
  CHECK(stagnation.barren() == 9);  // 33 to 41
  CHECK_FALSE(stagnation.is_over_due());
  stagnation.over(29, 0, 0);  // a late one
  CHECK(stagnation.barren() == 9);
}

TEST_CASE("any order of the same ends gives the same count") {
  Stagnation stagnation({.patience = 10});
  for (std::uint64_t i = 35; i > 0; --i) {
    stagnation.over(i, 0, 0);
    if (i == 20) stagnation.improved(20);
  }
  CHECK(stagnation.barren() == 15);
}

TEST_CASE("the forecast says variations, dollars and seconds, and grows while nothing comes") {
  CHECK_FALSE(after(3).forecast().is_known);
  const Forecast early = after(20).forecast(), late = after(200).forecast();
  for (const Forecast& forecast : {early, late}) {
    CHECK(forecast.is_known);
    CHECK(0 < forecast.low.variations);
    CHECK(forecast.low.variations < forecast.median.variations);
    CHECK(forecast.median.variations < forecast.high.variations);
  }
  CHECK(late.median.variations > early.median.variations);
  CHECK(late.chance < early.chance);
  CHECK(late.median.usd == Approx(0.01 * late.median.variations));
  CHECK(late.high.device_s == Approx(late.high.variations));
  CHECK(forecast_text(late).find("the next improvement costs about $") == 0);
  CHECK(forecast_json(late).at("forecast_usd_low") == late.low.usd);
}

TEST_CASE("where waits follow the law that was measured, the forecast is right as often as it says") {
  // 22 % of the improvements are the last; of the others half come within 6.7 variations, a tenth after 60.
  Rng rng(9);
  constexpr int k_barren = 30;
  const Forecast forecast = after(k_barren).forecast();
  int waits = 0, came = 0, within = 0, before_median = 0;
  while (waits < 4000) {
    const double wait = rng.uniform() < 0.22 ? 1e9 : 6.7 * (1 / (1 - rng.uniform()) - 1);
    if (wait <= k_barren) continue;
    ++waits;
    const double left = wait - k_barren;
    if (left > k_barren + 1) continue;  // as many variations as there were
    ++came;
    within += left > forecast.low.variations && left <= forecast.high.variations;
    before_median += left <= forecast.median.variations;
  }
  CHECK(static_cast<double>(came) / waits == Approx(forecast.chance).margin(0.03));
  CHECK(static_cast<double>(within) / came == Approx(0.8).margin(0.05));
  CHECK(static_cast<double>(before_median) / came == Approx(0.5).margin(0.06));
}
