// SPDX-License-Identifier: Apache-2.0
// The dispatch never asks for a slower arm, its boxes hold no workload of another wish, and shapes between are split.
#include "tools/exporting/dispatch.h"

#include "engine/core/error.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

ShapeTimes shape(std::string name, std::int64_t b, std::int64_t s, std::vector<double> time_us,
                 double fallback = 0) {
  return {.workload = std::move(name),
          .dims = {{"B", b}, {"S", s}},
          .time_us = std::move(time_us),
          .fallback_us = fallback};
}

Dispatch chosen(const std::vector<ShapeTimes>& shapes) { return choose_dispatch(shapes, {"B", "S"}, 0.01); }

int at(const Dispatch& dispatch, std::int64_t b, std::int64_t s) {
  return arm_at(dispatch, {{"B", b}, {"S", s}});
}

}  // namespace

TEST_CASE("the arm with the best mean is the default, and gains below the threshold make no rule") {
  const Dispatch dispatch = chosen({shape("a", 1, 100, {10, 10.05}), shape("b", 8, 100, {20, 19.95})});
  CHECK(dispatch.default_arm == 0);
  CHECK(dispatch.rules.empty());
}

TEST_CASE("a workload whose fastest arm is another one gets a box that ends half way to its neighbours") {
  const Dispatch dispatch =
      chosen({shape("a", 1, 100, {10, 20}), shape("b", 1, 10000, {30, 20}), shape("c", 64, 100, {10, 40})});
  REQUIRE(dispatch.default_arm == 0);
  REQUIRE(dispatch.rules.size() == 1);
  CHECK(at(dispatch, 1, 10000) == 1);
  CHECK(at(dispatch, 1, 1000000) == 1);
  CHECK(at(dispatch, 1, 1000) == 1);  // the logarithmic middle of 100 and 10000
  CHECK(at(dispatch, 1, 999) == 0);
  CHECK(at(dispatch, 64, 100) == 0);
}

TEST_CASE("workloads of one wish share a box unless it would hold one of another wish") {
  const std::vector<double> second{30, 10};
  const Dispatch apart =
      chosen({shape("a", 1, 10, second), shape("b", 1, 100, {10, 90}), shape("c", 1, 1000, second)});
  CHECK(at(apart, 1, 10) == 1);
  CHECK(at(apart, 1, 100) == 0);
  CHECK(at(apart, 1, 1000) == 1);
  const Dispatch together =
      chosen({shape("a", 1, 10, {5, 4}), shape("b", 1, 100, {5, 4}), shape("c", 9, 1, {2, 9})});
  REQUIRE(together.rules.size() == 1);
  CHECK(together.rules[0].workloads == std::vector<std::string>{"a", "b"});
}

TEST_CASE(
    "at every measured workload the dispatch is no slower than the default by more than the threshold") {
  std::vector<ShapeTimes> shapes;
  std::uint64_t state = 7;
  for (int i = 0; i < 60; ++i) {
    const auto draw = [&](std::uint64_t n) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      return static_cast<std::int64_t>((state >> 33) % n) + 1;
    };
    shapes.push_back(
        shape(std::to_string(i), draw(64), draw(4096),
              {static_cast<double>(draw(50)), static_cast<double>(draw(50)), static_cast<double>(draw(50))}));
  }
  const Dispatch dispatch = chosen(shapes);
  double gained = 1;
  for (const auto& [workload, gain] : dispatch_gains(dispatch, shapes)) {
    CHECK(gain >= 1);
    gained = std::max(gained, gain);
  }
  CHECK(gained > 1.01);
}

TEST_CASE("where the caller's own kernel is faster the fallback is asked for") {
  const Dispatch dispatch = chosen({shape("a", 1, 10, {10, 12}, 9), shape("b", 64, 10, {10, 12}, 11)});
  CHECK(at(dispatch, 1, 10) == k_fallback_arm);
  CHECK(at(dispatch, 64, 10) == 0);
  CHECK(rule_words(dispatch.rules[0], {"arm_0", "arm_1"}) == "B ..8 -> the caller's fallback");
}

TEST_CASE("an arm that does not run everywhere is no default, and without any time there is no dispatch") {
  const Dispatch dispatch = chosen({shape("a", 1, 10, {10, 1}), shape("b", 64, 10, {10, 0})});
  CHECK(dispatch.default_arm == 0);
  CHECK(at(dispatch, 1, 10) == 1);
  CHECK_THROWS_AS(chosen({shape("a", 1, 10, {0})}), Error);
}
