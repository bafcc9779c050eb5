// SPDX-License-Identifier: Apache-2.0
// Distances between two runs, in shares of the gates.
#include "evaluators/worker/pipeline/output_spread.h"

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

const Precision k_rows{.name = "rows", .row = 0.01, .element_ulp = 0, .element_rms = 1};
const Precision k_lse{.name = "lse", .absolute = 0.5};

double spread(const std::vector<float>& first, const std::vector<float>& second, const Precision& gate,
              std::int64_t columns) {
  return output_spread(Dtype::f32, columns, gate, std::as_bytes(std::span(first)),
                       std::as_bytes(std::span(second)));
}

}  // namespace

TEST_CASE("equal outputs have no spread, not even NaN ones") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(spread({1, nan}, {1, nan}, k_rows, 2) == 0);
}

TEST_CASE("the worst row decides, as a share of the row gate") {
  // Row 1: error 0.02 of rms 1.
  CHECK(spread({1, 1, 1, 1}, {1, 1, 1.02f, 1.02f}, k_rows, 2) == Approx(2).epsilon(1e-4));
}

TEST_CASE("an absolute gate counts without a row gate") {
  CHECK(spread({3}, {3.25f}, k_lse, 1) == Approx(0.5));
}

TEST_CASE("a value that is finite in one run only is infinitely far") {
  CHECK(std::isinf(spread({1, 2}, {1, std::numeric_limits<float>::infinity()}, k_rows, 2)));
}

TEST_CASE("halves are read as halves") {
  const std::vector<std::uint16_t> one{0x3C00}, more{0x3C01}, tiny{0x0001}, minus{0x8001};
  const Precision gate{.name = "absolute", .absolute = std::ldexp(1.0, -10)};
  CHECK(output_spread(Dtype::f16, 1, gate, std::as_bytes(std::span(one)), std::as_bytes(std::span(more))) ==
        Approx(1));
  CHECK(output_spread(Dtype::f16, 1, {.name = "absolute", .absolute = std::ldexp(1.0, -23)},
                      std::as_bytes(std::span(tiny)), std::as_bytes(std::span(minus))) == Approx(1));
}

TEST_CASE("codes must be the same to the byte") {
  const std::vector<std::uint8_t> first{1, 2}, second{1, 3};
  CHECK(std::isinf(output_spread(Dtype::u8, 2, k_rows, std::as_bytes(std::span(first)),
                                 std::as_bytes(std::span(second)))));
}
