// SPDX-License-Identifier: Apache-2.0
// A plan's tensor map in the virtual GPU's words.
#pragma once

#include <cstdint>

#include "engine/core/launch_plan.h"
#include "evaluators/worker/vgpu/virtual_tensor_map.h"

namespace kernelites::worker {

/// A plan's tensor map, which check_tensor_map has accepted, over memory at `address`.
vgpu::VirtualTensorMap virtual_map(const TensorMap& map, std::uint64_t address);

}  // namespace kernelites::worker
