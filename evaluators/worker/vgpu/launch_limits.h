// SPDX-License-Identifier: Apache-2.0
// What a launch may ask for: CUDA's limits, and the memory that the state of running blocks takes here.
#pragma once

#include <optional>
#include <string>

#include "evaluators/worker/vgpu/warp.h"

namespace kernelites::worker::vgpu {

/// A launch that cannot work.
Fault launch_fault(const Launch& launch, std::string message);
/// The fault of a launch that CUDA would refuse; empty if there is none. `image`: null if there is no such kernel.
std::optional<Fault> validate(const KernelImage* image, const Launch& launch);
/// Clusters that run at once, of `clusters` in all; 0 if one, or all of a cooperative grid, do not fit into the memory
/// for them.
u64 resident_cluster_limit(const LaunchContext& context, u64 clusters);

}  // namespace kernelites::worker::vgpu
