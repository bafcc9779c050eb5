// SPDX-License-Identifier: Apache-2.0
// Validation of a launch, and how many of its blocks are held open.
#include "evaluators/worker/vgpu/launch_limits.h"

#include <algorithm>

#include <fmt/core.h>

namespace kernelites::worker::vgpu {
namespace {

constexpr u64 k_resident_blocks = 1024, k_max_resident_blocks = 4096;
constexpr u64 k_max_resident_bytes = u64{4} << 30;  ///< of the state of the blocks that run at once
constexpr u64 k_max_grid_blocks = u64{1} << 31;
constexpr u32 k_max_shared_bytes = 227 * 1024;

/// What the state of one open block takes at most: registers, local and shared memory with their states, and the shadow
/// of shared memory (three words per granule, and one more per warp where order is kept by warp).
u64 block_bytes(const LaunchContext& context) {
  const KernelImage& image = *context.image;
  const u64 warps = context.warps_per_block;
  const u64 shadow = 12 + (image.tracks_order ? 4 * warps : 0);
  return warps * (image.arena_bytes + 2 * u64{image.local_bytes} * k_lanes) + u64{context.shared_bytes} * 2 +
         context.shared_bytes * shadow / image.shared_granule + 4096;
}

}  // namespace

Fault launch_fault(const Launch& launch, std::string message) {
  return {.kind = FaultKind::invalid_launch,
          .message = std::move(message),
          .kernel = launch.kernel,
          .line = 0,
          .block = {0, 0, 0},
          .thread = {0, 0, 0},
          .instruction = {}};
}

std::optional<Fault> validate(const KernelImage* image, const Launch& launch) {
  if (image == nullptr)
    return launch_fault(launch, fmt::format("the module has no kernel '{}'", launch.kernel));
  const u64 threads = launch.block.count();
  const Dim3 g = launch.grid, c = launch.cluster;
  const Dim3 b = launch.block;
  if (b.x > 1024 || b.y > 1024 || b.z > 64)
    return launch_fault(launch, fmt::format("a block of {} x {} x {} threads", b.x, b.y, b.z));
  if (threads == 0 || threads > 1024)
    return launch_fault(launch, fmt::format("{} threads per block; 1 to 1024 are possible", threads));
  if (image->max_threads != 0 && threads > image->max_threads) {
    return launch_fault(launch, fmt::format("{} threads per block, but __launch_bounds__ says at most {}",
                                            threads, image->max_threads));
  }
  if (g.count() == 0 || g.count() > k_max_grid_blocks || g.y > 65535 || g.z > 65535) {
    return launch_fault(launch, fmt::format("a grid of {} x {} x {} blocks", g.x, g.y, g.z));
  }
  if (c.count() == 0 || c.count() > 16 || g.x % c.x != 0 || g.y % c.y != 0 || g.z % c.z != 0) {
    return launch_fault(launch, fmt::format("clusters of {} x {} x {} blocks in a grid of {} x {} x {}", c.x,
                                            c.y, c.z, g.x, g.y, g.z));
  }
  if (image->static_shared_bytes + u64{launch.dynamic_shared_bytes} > k_max_shared_bytes) {
    return launch_fault(
        launch, fmt::format("{} bytes of static and {} of dynamic shared memory; a block has {}",
                            image->static_shared_bytes, launch.dynamic_shared_bytes, k_max_shared_bytes));
  }
  if (image->arena_bytes > k_max_arena_bytes) {
    return launch_fault(launch,
                        fmt::format("{} bytes of registers per thread", image->arena_bytes / k_lanes));
  }
  if (image->local_bytes > k_max_local_bytes) {
    return launch_fault(launch,
                        fmt::format("more than {} bytes of local memory for each thread", k_max_local_bytes));
  }
  if (launch.parameters.size() != image->parameter_bytes) {
    return launch_fault(launch, fmt::format("{} bytes of parameters, the kernel takes {}",
                                            launch.parameters.size(), image->parameter_bytes));
  }
  if (launch.cooperative && g.count() > k_max_resident_blocks) {
    return launch_fault(
        launch, fmt::format("a cooperative grid of {} blocks cannot be resident together", g.count()));
  }
  return std::nullopt;
}

u64 resident_cluster_limit(const LaunchContext& context, u64 clusters) {
  const u64 size = context.launch->cluster.count();
  const u64 fitting = k_max_resident_bytes / (block_bytes(context) * size);
  if (context.launch->cooperative) return clusters <= fitting ? clusters : 0;
  if (size > 1 && fitting == 0) return 0;
  const u64 most = std::max<u64>(k_resident_blocks / size, 1);
  return context.image->needs_order ? std::clamp<u64>(fitting, 1, most) : 1;
}

}  // namespace kernelites::worker::vgpu
