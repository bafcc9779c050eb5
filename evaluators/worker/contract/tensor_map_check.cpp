// SPDX-License-Identifier: Apache-2.0
// Rules for tensor maps.
#include "evaluators/worker/contract/tensor_map_check.h"

#include <fmt/format.h>

namespace kernelites::worker {
namespace {

constexpr std::uint32_t k_box_max = 256;
constexpr std::uint32_t k_step_max = 8;
constexpr std::int64_t k_extent_max = std::int64_t{1} << 32;
constexpr std::int64_t k_stride_max = std::int64_t{1} << 40;
constexpr std::int64_t k_alignment = 16;

bool is_map_dtype(Dtype dtype) {
  // TMA has no 8-bit floats; they travel as bytes.
  return dtype != Dtype::i8;
}

std::optional<TensorMapProblem> check_axis(const TensorMap& map, std::size_t axis, std::int64_t element) {
  const std::int64_t extent = map.extent[axis], stride = map.stride_bytes[axis];
  if (extent < 1 || extent > k_extent_max) {
    return TensorMapProblem{"plan_map_extent",
                            fmt::format("axis {} has extent {}; allowed are 1 to 2^32", axis, extent)};
  }
  if (map.box[axis] < 1 || map.box[axis] > k_box_max) {
    return TensorMapProblem{"plan_map_box", fmt::format("axis {} has box {}; allowed are 1 to {}", axis,
                                                        map.box[axis], k_box_max)};
  }
  if (map.element_stride[axis] < 1 || map.element_stride[axis] > k_step_max) {
    return TensorMapProblem{"plan_map_step", fmt::format("axis {} has step {}; allowed are 1 to {}", axis,
                                                         map.element_stride[axis], k_step_max)};
  }
  if (axis == 0) {
    if (stride == element) return std::nullopt;
    return TensorMapProblem{
        "plan_map_inner_stride",
        fmt::format("axis 0 is the innermost and must be contiguous; its stride is {} bytes, the element "
                    "has {}: put the tensor's last axis first in the list",
                    stride, element)};
  }
  if (stride < 0 || stride % k_alignment != 0 || stride >= k_stride_max) {
    return TensorMapProblem{"plan_map_stride",
                            fmt::format("axis {} has stride {} bytes; it must be a multiple of {} below "
                                        "2^40",
                                        axis, stride, k_alignment)};
  }
  return std::nullopt;
}

std::optional<TensorMapProblem> check_inner_box(const TensorMap& map, std::int64_t element) {
  const std::int64_t inner = map.box[0] * element;
  if (inner % 16 != 0) {
    return TensorMapProblem{"plan_map_inner_box",
                            fmt::format("the inner box has {} bytes; it must be a multiple of 16", inner)};
  }
  switch (map.swizzle_bytes) {
    case 0:
      return std::nullopt;
    case 32:
    case 64:
    case 128:
      if (inner <= map.swizzle_bytes) return std::nullopt;
      return TensorMapProblem{
          "plan_map_inner_box",
          fmt::format("the inner box has {} bytes, more than the swizzle's {}: make the inner box "
                      "narrower and copy several boxes",
                      inner, map.swizzle_bytes)};
    default:
      return TensorMapProblem{
          "plan_map_swizzle",
          fmt::format("the swizzle is {}; allowed are 0, 32, 64 and 128 bytes", map.swizzle_bytes)};
  }
}

}  // namespace

std::optional<TensorMapProblem> check_tensor_map(const TensorMap& map, std::int64_t bytes) {
  const auto element = static_cast<std::int64_t>(dtype_bytes(map.dtype));
  if (map.rank < 1 || map.rank > 5) {
    return TensorMapProblem{"plan_map_rank", fmt::format("it has rank {}; allowed are 1 to 5", map.rank)};
  }
  if (!is_map_dtype(map.dtype)) {
    return TensorMapProblem{"plan_map_dtype",
                            "its element type is i8, which tensor maps lack: use tensor.as(kl::u8)"};
  }
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(map.rank); ++axis) {
    if (auto problem = check_axis(map, axis, element)) return problem;
  }
  if (auto problem = check_inner_box(map, element)) return problem;
  const int l2 = map.l2_promotion_bytes;
  if (l2 != 0 && l2 != 64 && l2 != 128 && l2 != 256) {
    return TensorMapProblem{"plan_map_l2_promotion",
                            fmt::format("the L2 promotion is {}; allowed are 0, 64, 128 and 256", l2)};
  }
  if (map.offset_bytes < 0 || map.offset_bytes % k_alignment != 0) {
    return TensorMapProblem{
        "plan_map_offset",
        fmt::format("it begins {} bytes into the tensor; that must be a multiple of 16", map.offset_bytes)};
  }
  // The end of the last element that the map can reach.
  std::int64_t last = element;
  bool overflows = __builtin_add_overflow(last, map.offset_bytes, &last);
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(map.rank); ++axis) {
    std::int64_t reach = 0;
    overflows |= __builtin_mul_overflow(map.extent[axis] - 1, map.stride_bytes[axis], &reach);
    overflows |= __builtin_add_overflow(last, reach, &last);
  }
  if (overflows || last > bytes) {
    return TensorMapProblem{
        "plan_map_outside_tensor",
        fmt::format("it reaches beyond the end of its tensor, which has {} bytes: check extents and "
                    "strides",
                    bytes)};
  }
  return std::nullopt;
}

}  // namespace kernelites::worker
