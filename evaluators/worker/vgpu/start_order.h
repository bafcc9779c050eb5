// SPDX-License-Identifier: Apache-2.0
// Which blocks of a launch start, and in which order: all of them, a sample, or those that are asked for.
#pragma once

#include <vector>

#include "evaluators/worker/vgpu/machine.h"

namespace kernelites::worker::vgpu {

/// Numbers of the clusters to run (x fastest; blocks, where a cluster is one block), in the order in which they
/// start. A list only where they are not simply 0, 1, 2, ...: a grid may have 2^31 blocks.
struct StartOrder {
  u64 count = 0;
  std::vector<u64> listed;

  u64 at(u64 position) const { return listed.empty() ? position : listed[position]; }
};

StartOrder start_order(const Launch& launch, const LaunchOptions& options);
/// The block (x fastest) with this rank in a cluster.
u64 block_of(const Launch& launch, u64 cluster, u64 rank);
/// The next number of a sequence that a seed begins.
u64 next_draw(u64& state);

}  // namespace kernelites::worker::vgpu
