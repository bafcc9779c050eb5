// SPDX-License-Identifier: Apache-2.0
// When a kernel is compared with itself, and what follows.
#include "engine/search/null_watch.h"

#include <cmath>

#include "engine/core/error.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

constexpr PairedRatio k_good{.log_ratio_median = 0.0004, .log_ratio_low = -0.001, .log_ratio_high = 0.002};
constexpr PairedRatio k_off{.log_ratio_median = 0.004, .log_ratio_low = 0.003, .log_ratio_high = 0.005};

}  // namespace

TEST_CASE("a null is good when its median is small and its interval holds no difference") {
  CHECK(is_good_null(k_good));
  CHECK_FALSE(is_good_null(k_off));
  CHECK_FALSE(is_good_null({.log_ratio_median = 0.004, .log_ratio_low = -0.01, .log_ratio_high = 0.01}));
  CHECK_FALSE(is_good_null({.log_ratio_median = 0.001, .log_ratio_low = 0.0005, .log_ratio_high = 0.002}));
  CHECK_FALSE(is_good_null({.log_ratio_median = NAN, .log_ratio_low = -1, .log_ratio_high = 1}));
}

TEST_CASE("a null is due after so many timed candidates") {
  NullWatch watch(3);
  for (int i = 0; i < 3; ++i) {
    CHECK_FALSE(watch.is_due(0));
    watch.count();
  }
  CHECK(watch.is_due(0));
  CHECK(watch.is_open());
  watch.take(k_good, 1);
  CHECK_FALSE(watch.is_due(2));
}

TEST_CASE("a null that is off closes timing until one is good, with a pause before each") {
  NullWatch watch(3);
  watch.take(k_off, 100);
  CHECK_FALSE(watch.is_open());
  CHECK_FALSE(watch.is_due(104));
  CHECK(watch.is_due(105));
  watch.take(std::nullopt, 105);
  CHECK_FALSE(watch.is_due(114));
  CHECK(watch.is_due(115));
  watch.take(k_good, 115);
  CHECK(watch.is_open());
}

TEST_CASE("a device that never gives a good null ends the run") {
  NullWatch watch(3);
  for (int i = 0; i < 5; ++i) watch.take(k_off, 0);
  CHECK_THROWS_WITH(watch.take(k_off, 0), Catch::Contains("cannot be timed"));
}

TEST_CASE("after a resume a null comes before any duel") {
  NullWatch watch(50);
  watch.demand();
  CHECK_FALSE(watch.is_open());
  CHECK(watch.is_due(0));
  watch.take(k_good, 0);
  CHECK(watch.is_open());
}

TEST_CASE("without nulls timing is always open") {
  NullWatch watch(0);
  watch.demand();
  for (int i = 0; i < 100; ++i) watch.count();
  CHECK_FALSE(watch.is_due(1e9));
  CHECK(watch.is_open());
}
