// SPDX-License-Identifier: Apache-2.0
// The translation of a plan's tensor map into the driver's arguments.
#include "evaluators/worker/device/tensor_map_encoding.h"

#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// A [4, 128, 64] tensor of bf16, boxes of 64 x 32.
TensorMap example() {
  TensorMap map;
  map.dtype = Dtype::bf16;
  map.rank = 3;
  map.extent = {64, 128, 4};
  map.stride_bytes = {2, 128, 128 * 128};
  map.box = {64, 32, 1};
  map.swizzle_bytes = 128;
  return map;
}

void check_refused(const TensorMap& map, const std::string& word) {
  std::string problem;
  CHECK_FALSE(tensor_map_arguments(map, problem));
  CHECK(problem.find(word) != std::string::npos);
}

}  // namespace

TEST_CASE("a tensor map becomes the driver's arguments") {
  std::string problem;
  const auto arguments = tensor_map_arguments(example(), problem);
  REQUIRE(arguments);
  CHECK(arguments->type == cuda::k_tensor_bfloat16);
  CHECK(arguments->rank == 3);
  CHECK(arguments->extents[0] == 64);
  CHECK(arguments->extents[2] == 4);
  CHECK(arguments->box[1] == 32);
  CHECK(arguments->element_strides[1] == 1);
  CHECK(arguments->swizzle == cuda::k_swizzle_128b);
  CHECK(arguments->promotion == cuda::k_promotion_256b);
}

TEST_CASE("strides begin with the second dimension") {
  std::string problem;
  const auto arguments = tensor_map_arguments(example(), problem);
  REQUIRE(arguments);
  CHECK(arguments->strides[0] == 128);
  CHECK(arguments->strides[1] == 128 * 128);
}

TEST_CASE("eight-bit floating point is copied as bytes") {
  TensorMap map = example();
  map.dtype = Dtype::e4m3;
  std::string problem;
  CHECK(tensor_map_arguments(map, problem)->type == cuda::k_tensor_uint8);
}

TEST_CASE("what the driver has no word for is refused by name") {
  TensorMap map = example();
  map.swizzle_bytes = 48;
  check_refused(map, "swizzle");
  map = example();
  map.l2_promotion_bytes = 512;
  check_refused(map, "promotion");
  map = example();
  map.rank = 6;
  check_refused(map, "dimensions");
}
