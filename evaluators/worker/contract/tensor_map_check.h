// SPDX-License-Identifier: Apache-2.0
// The rules of cuTensorMapEncodeTiled, with words: a map the driver would refuse, or that leaves its tensor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/core/launch_plan.h"

namespace kernelites::worker {

struct TensorMapProblem {
  const char* code;
  std::string words;
};

/// Judges `map` over memory of `bytes` bytes (CUDA driver API, "Tensor Map Object Management").
std::optional<TensorMapProblem> check_tensor_map(const TensorMap& map, std::int64_t bytes);

}  // namespace kernelites::worker
