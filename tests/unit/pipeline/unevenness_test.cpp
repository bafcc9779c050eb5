// SPDX-License-Identifier: Apache-2.0
// When other samples of blocks show that the timed one does not stand for its launch.
#include "evaluators/worker/pipeline/modelled_times.h"
#include "tests/support/catch.h"

using namespace kernelites::worker;

namespace {

std::optional<double> of(const std::vector<double>& ratios) { return unevenness(ratios); }
bool may_be(const std::vector<double>& ratios) { return may_be_uneven(ratios); }

}  // namespace

TEST_CASE(
    "three samples that all take twice the time show an uneven launch, one that does not ends the question") {
  CHECK(of({2.5, 9.0, 2.1}) == 2.1);
  CHECK_FALSE(of({2.5, 9.0}));
  CHECK(may_be({}));
  CHECK(may_be({2.5, 9.0}));
  CHECK_FALSE(may_be({2.5, 9.0, 2.1}));
  CHECK_FALSE(of({2.5, 9.0, 1.1}));
  CHECK_FALSE(may_be({1.1}));
  CHECK_FALSE(may_be({2.5, 1.1}));
}

TEST_CASE("eight samples that agree show a timed one that is a quarter less, as long as they agree") {
  const std::vector<double> half(8, 1.9);
  CHECK(of(half) == 1.9);
  CHECK_FALSE(of({half.begin(), half.end() - 1}));
  CHECK(may_be({half.begin(), half.end() - 1}));
  CHECK_FALSE(may_be(half));
  std::vector<double> scattered = half;
  scattered[4] = 1.6;
  CHECK_FALSE(of(scattered));
  CHECK_FALSE(may_be({1.9, 1.6}));
  CHECK_FALSE(of(std::vector<double>(8, 1.2)));
}
