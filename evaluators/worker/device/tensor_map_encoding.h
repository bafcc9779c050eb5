// SPDX-License-Identifier: Apache-2.0
// From a plan's TMA tensor map to the arguments of cuTensorMapEncodeTiled.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "engine/core/launch_plan.h"
#include "evaluators/worker/device/cuda_library.h"

namespace kernelites::worker {

/// What cuTensorMapEncodeTiled takes, innermost dimension first. `strides` begins with the second
/// dimension's.
struct TensorMapArguments {
  int type = cuda::k_tensor_uint8;
  std::uint32_t rank = 0;
  std::array<std::uint64_t, 5> extents{};
  std::array<std::uint64_t, 4> strides{};
  std::array<std::uint32_t, 5> box{};
  std::array<std::uint32_t, 5> element_strides{};
  int swizzle = cuda::k_swizzle_none;
  int promotion = cuda::k_promotion_none;
};

/// Translates `map`. Empty, with a sentence in `problem`, if the driver has no word for it (a swizzle of 48
/// bytes, ...).
std::optional<TensorMapArguments> tensor_map_arguments(const TensorMap& map, std::string& problem);

/// Encodes `map` over memory at `address`. Empty, with a sentence in `problem`, if the driver refuses.
std::optional<cuda::EncodedTensorMap> encode_tensor_map(const CudaLibrary& cuda, const TensorMap& map,
                                                        cuda::DevicePointer address, std::string& problem);

}  // namespace kernelites::worker
