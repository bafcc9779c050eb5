// SPDX-License-Identifier: Apache-2.0
// From counts by instruction, one set per OS thread, to the counts of a launch.
#pragma once

#include <vector>

#include "evaluators/worker/vgpu/warp.h"

namespace kernelites::worker::vgpu {

/// Sizes a tally for a kernel.
void start_tally(Tally& tally, const KernelImage& image);
/// Sums by class and by source line; footprints are united. `factor`: blocks of the grid for each one that ran.
Counts sum_tallies(const std::vector<Tally>& tallies, const KernelImage& image, double factor);

}  // namespace kernelites::worker::vgpu
