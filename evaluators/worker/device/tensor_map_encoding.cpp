// SPDX-License-Identifier: Apache-2.0
// Translation tables of a tensor map, and the call.
#include "evaluators/worker/device/tensor_map_encoding.h"

#include <fmt/format.h>

#include <utility>

namespace kernelites::worker {
namespace {

int tensor_type(Dtype dtype) {
  switch (dtype) {
    case Dtype::f16:
      return cuda::k_tensor_float16;
    case Dtype::bf16:
      return cuda::k_tensor_bfloat16;
    case Dtype::f32:
      return cuda::k_tensor_float32;
    case Dtype::f64:
      return cuda::k_tensor_float64;
    case Dtype::i32:
      return cuda::k_tensor_int32;
    case Dtype::i64:
      return cuda::k_tensor_int64;
    case Dtype::e4m3:  // eight-bit types are bytes to the copy engine
    case Dtype::e5m2:
    case Dtype::i8:
    case Dtype::u8:
      return cuda::k_tensor_uint8;
  }
  return cuda::k_tensor_uint8;
}

constexpr std::pair<int, int> k_swizzles[] = {{0, cuda::k_swizzle_none},
                                              {32, cuda::k_swizzle_32b},
                                              {64, cuda::k_swizzle_64b},
                                              {128, cuda::k_swizzle_128b}};
constexpr std::pair<int, int> k_promotions[] = {{0, cuda::k_promotion_none},
                                                {64, cuda::k_promotion_64b},
                                                {128, cuda::k_promotion_128b},
                                                {256, cuda::k_promotion_256b}};

template <typename Table>
std::optional<int> look_up(const Table& table, int bytes) {
  for (const auto& [key, value] : table)
    if (key == bytes) return value;
  return std::nullopt;
}

}  // namespace

std::optional<TensorMapArguments> tensor_map_arguments(const TensorMap& map, std::string& problem) {
  if (map.rank < 1 || map.rank > 5) {
    problem = fmt::format("a tensor map has 1 to 5 dimensions, not {}", map.rank);
    return std::nullopt;
  }
  const auto swizzle = look_up(k_swizzles, map.swizzle_bytes);
  if (!swizzle) {
    problem = fmt::format("a swizzle is 0, 32, 64 or 128 bytes, not {}", map.swizzle_bytes);
    return std::nullopt;
  }
  const auto promotion = look_up(k_promotions, map.l2_promotion_bytes);
  if (!promotion) {
    problem = fmt::format("an L2 promotion is 0, 64, 128 or 256 bytes, not {}", map.l2_promotion_bytes);
    return std::nullopt;
  }
  TensorMapArguments arguments{.type = tensor_type(map.dtype),
                               .rank = static_cast<std::uint32_t>(map.rank),
                               .box = map.box,
                               .element_strides = map.element_stride,
                               .swizzle = *swizzle,
                               .promotion = *promotion};
  for (std::size_t i = 0; i < arguments.rank; ++i) {
    arguments.extents[i] = static_cast<std::uint64_t>(map.extent[i]);
    if (i > 0) arguments.strides[i - 1] = static_cast<std::uint64_t>(map.stride_bytes[i]);
  }
  return arguments;
}

std::optional<cuda::EncodedTensorMap> encode_tensor_map(const CudaLibrary& cuda, const TensorMap& map,
                                                        cuda::DevicePointer address, std::string& problem) {
  const auto arguments = tensor_map_arguments(map, problem);
  if (!arguments) return std::nullopt;
  cuda::EncodedTensorMap encoded;
  const cuda::Result result = cuda.encode_tensor_map(
      &encoded, arguments->type, arguments->rank, reinterpret_cast<void*>(address), arguments->extents.data(),
      arguments->strides.data(), arguments->box.data(), arguments->element_strides.data(),
      cuda::k_interleave_none, arguments->swizzle, arguments->promotion, cuda::k_oob_fill_none);
  if (result == cuda::k_success) return encoded;
  problem = fmt::format(
      "the driver refuses the tensor map (dtype {}, extents {} {} {}, box {} {} {}, swizzle {}): {}",
      dtype_name(map.dtype), map.extent[0], map.extent[1], map.extent[2], map.box[0], map.box[1], map.box[2],
      map.swizzle_bytes, cuda.words(result));
  return std::nullopt;
}

}  // namespace kernelites::worker
