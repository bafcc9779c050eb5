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

/// Of two rows of bits.
template <typename Bits>
OutputSpread spread_of(Dtype dtype, const std::vector<Bits>& first, const std::vector<Bits>& second,
                       const Precision& gate) {
  return output_spread(dtype, static_cast<std::int64_t>(first.size()), gate, std::as_bytes(std::span(first)),
                       std::as_bytes(std::span(second)));
}

double spread(const std::vector<float>& first, const std::vector<float>& second, const Precision& gate,
              std::int64_t columns) {
  return output_spread(Dtype::f32, columns, gate, std::as_bytes(std::span(first)),
                       std::as_bytes(std::span(second)))
      .share;
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
  const std::vector<std::uint16_t> one{0x3C00}, more{0x3C02}, tiny{0x0001}, minus{0x8002};
  // Two units in the last place, of which one is no more than rounding.
  CHECK(spread_of(Dtype::f16, one, more, {.name = "absolute", .absolute = std::ldexp(1.0, -10)}).share ==
        Approx(1));
  CHECK(spread_of(Dtype::f16, tiny, minus, {.name = "absolute", .absolute = std::ldexp(1.0, -23)}).share ==
        Approx(1));
}

TEST_CASE("one unit in the last place has no share of the gates, in every type, and is no equality") {
  const Precision gate{.name = "tight", .row = 1e-30, .element_ulp = 1e-30};
  const auto check_rounding = [&](Dtype dtype, auto first, auto next, auto beyond) {
    const OutputSpread near = spread_of<decltype(first)>(dtype, {first, first}, {first, next}, gate);
    CHECK(!near.is_equal);
    CHECK(near.share == 0);
    CHECK(spread_of<decltype(first)>(dtype, {first, first}, {first, beyond}, gate).share > 1);
  };
  check_rounding(Dtype::bf16, std::uint16_t{0x3F81}, std::uint16_t{0x3F82}, std::uint16_t{0x3F83});
  check_rounding(Dtype::f16, std::uint16_t{0x3C01}, std::uint16_t{0x3C02}, std::uint16_t{0x3C03});
  check_rounding(Dtype::f32, 0x3F800001u, 0x3F800002u, 0x3F800003u);
  check_rounding(Dtype::f64, 0x3FF0000000000001ull, 0x3FF0000000000002ull, 0x3FF0000000000003ull);
}

TEST_CASE("a flipped bit of a bf16 output is far less than the gates of rmsnorm forbid") {
  // What honest atomics did on an H100: one element of a row one unit off, which is 2^-8 of it.
  std::vector<std::uint16_t> first(7, 0x3F80), second = first;
  second[3] = 0x3F81;
  const Precision gate{.name = "bf16", .row = 0.004, .element_rms = 0.02};
  CHECK(spread_of(Dtype::bf16, first, second, gate).share <= 0.25);
}

TEST_CASE("codes of a plain output must be the same to the byte, quantised ones may be neighbours") {
  const std::vector<std::uint8_t> first{1, 2}, second{1, 3}, third{1, 4}, positive{0x00}, negative{0x81};
  const Precision codes{.name = "codes", .compare = Compare::codes};
  CHECK(std::isinf(spread_of(Dtype::u8, first, second, k_rows).share));
  CHECK(spread_of(Dtype::u8, first, second, codes).share == 0);
  CHECK(std::isinf(spread_of(Dtype::u8, first, third, codes).share));
  CHECK(spread_of(Dtype::e4m3, positive, negative, codes).share == 0);
}
