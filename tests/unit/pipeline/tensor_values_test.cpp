// SPDX-License-Identifier: Apache-2.0
// Elements of tensors as numbers, and places along axes.
#include "evaluators/worker/pipeline/tensor_values.h"

#include <cmath>

#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

double through(Dtype dtype, double value) {
  TensorBytes bytes(dtype_bytes(dtype));
  set_element(dtype, bytes, 0, value);
  return element_value(dtype, bytes, 0);
}

}  // namespace

TEST_CASE("every finite code of a small format is read and written back as itself") {
  for (const Dtype dtype : {Dtype::e4m3, Dtype::e5m2, Dtype::i8, Dtype::u8}) {
    for (unsigned code = 0; code < 256; ++code) {
      const TensorBytes bytes{static_cast<std::byte>(code)};
      const double value = element_value(dtype, bytes, 0);
      if (std::isnan(value)) continue;
      TensorBytes again(1);
      set_element(dtype, again, 0, value);
      CHECK(again == bytes);
    }
  }
}

TEST_CASE("values are rounded to the nearest, ties to even, and saturate or overflow as the format does") {
  CHECK(through(Dtype::bf16, 1 + 0x1p-8) == 1);
  CHECK(through(Dtype::bf16, 1 + 3 * 0x1p-8) == 1 + 0x1p-6);
  CHECK(through(Dtype::f16, 65520) == INFINITY);
  CHECK(through(Dtype::e4m3, 1e9) == 448);
  CHECK(through(Dtype::f16, 0x1p-24) == 0x1p-24);
  CHECK(through(Dtype::f32, 0.1) == static_cast<double>(0.1f));
  CHECK(std::isnan(through(Dtype::bf16, NAN)));
}

TEST_CASE("a gather reads every element where it is told") {
  const TensorBytes from{std::byte{0}, std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}};
  const auto transposed = gathered(1, {3, 2}, from, {2, 3}, [](const Indices& at) {
    return Indices{at[1], at[0]};
  });
  CHECK(transposed ==
        TensorBytes{std::byte{0}, std::byte{3}, std::byte{1}, std::byte{4}, std::byte{2}, std::byte{5}});
}
