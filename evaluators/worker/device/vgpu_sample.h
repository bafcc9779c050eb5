// SPDX-License-Identifier: Apache-2.0
// The blocks that stand for a launch of the virtual GPU where its time is modelled: run as they are timed, or watched.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "evaluators/worker/vgpu/machine.h"

namespace kernelites::worker {

/// Where a few blocks stand for the launch; a small grid and a cooperative one run whole.
bool is_sampled_in_timing(const vgpu::Launch& launch);

/// Runs those that `seed` draws, without checks. Nothing: they got nowhere, and the launch must run in full. A fault
/// `budget_exceeded` where they draw the work of all (persistent grids with a counter).
/// REQUIRES: `is_sampled_in_timing`.
std::optional<vgpu::LaunchResult> run_time_sample(const vgpu::Program& program, vgpu::Memory& memory,
                                                  const vgpu::Launch& launch,
                                                  const vgpu::LaunchOptions& options, std::uint64_t seed);

/// Some blocks of a launch, with those that were given up since they needed what others would have written.
struct WatchedBlocks {
  std::vector<std::uint64_t> blocks;
  vgpu::LaunchResult result;
};

/// Runs these blocks alone, with all accesses checked, and whatever else `options` say.
WatchedBlocks run_watched(const vgpu::Program& program, vgpu::Memory& memory, const vgpu::Launch& launch,
                          std::vector<std::uint64_t> blocks, vgpu::LaunchOptions options);
/// The same with those that stand for the launch where it is timed, drawn and started as there.
WatchedBlocks run_time_sample_watched(const vgpu::Program& program, vgpu::Memory& memory,
                                      const vgpu::Launch& launch, std::uint64_t seed,
                                      const vgpu::LaunchOptions& options);

}  // namespace kernelites::worker
