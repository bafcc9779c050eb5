// SPDX-License-Identifier: Apache-2.0
// A few blocks first, more where those are short.
#include "evaluators/worker/device/vgpu_sample.h"

#include <algorithm>

#include "evaluators/worker/vgpu/start_order.h"

namespace kernelites::worker {
namespace {

constexpr std::uint64_t k_sample_blocks = 16;
/// A few blocks are tried first: where they are long, they stand for the launch.
constexpr std::uint64_t k_first_blocks = 4;
constexpr std::uint64_t k_first_enough = 2'000'000;  ///< warp instructions
/// Warp instructions of a sampled launch, before it counts as one that gets nowhere.
constexpr std::uint64_t k_sample_budget = 200'000'000;

/// In the order in which they start.
std::vector<std::uint64_t> drawn_blocks(const vgpu::Launch& launch, std::uint64_t count, std::uint64_t seed) {
  vgpu::LaunchOptions options;
  options.sample = vgpu::BlockSample{.blocks = count, .seed = seed};
  const vgpu::StartOrder order = vgpu::start_order(launch, options);
  std::vector<std::uint64_t> blocks;
  for (std::uint64_t position = 0; position < order.count; ++position)
    for (std::uint64_t rank = 0; rank < launch.cluster.count(); ++rank)
      blocks.push_back(vgpu::block_of(launch, order.at(position), rank));
  return blocks;
}

/// What few blocks drew from a counter that the whole grid shares was the work of all, of which nothing was left for
/// those that ran behind them: no few stand for the launch, and the counter is used up.
vgpu::LaunchResult drawn_empty(const vgpu::Launch& launch) {
  vgpu::LaunchResult result;
  result.fault = vgpu::Fault{.kind = vgpu::FaultKind::budget_exceeded,
                             .message = "the blocks that stand for the launch draw the work of all",
                             .kernel = launch.kernel};
  return result;
}

}  // namespace

bool is_sampled_in_timing(const vgpu::Launch& launch) {
  return !launch.cooperative && launch.grid.count() > k_sample_blocks;
}

std::optional<vgpu::LaunchResult> run_time_sample(const vgpu::Program& program, vgpu::Memory& memory,
                                                  const vgpu::Launch& launch,
                                                  const vgpu::LaunchOptions& options, std::uint64_t seed) {
  vgpu::LaunchOptions sampled = options;
  sampled.instruction_budget = std::min(options.instruction_budget, k_sample_budget);
  sampled.checks = {.uninitialised = false, .races = false};
  sampled.sample = vgpu::BlockSample{.blocks = k_first_blocks, .seed = seed};
  vgpu::LaunchResult result = vgpu::run(program, memory, launch, sampled);
  const std::uint64_t executed = result.counts.total_warp_instructions();
  const bool is_short = executed < k_first_enough;
  const bool may_draw_work = result.counts.of(vgpu::OpClass::atomic) > 0;
  if (!result.fault && (is_short || may_draw_work)) {
    if (is_short) sampled.sample->blocks = k_sample_blocks;
    vgpu::LaunchResult later = vgpu::run(program, memory, launch, sampled);
    if (may_draw_work && !later.fault && later.counts.total_warp_instructions() < executed / 2)
      return drawn_empty(launch);
    if (is_short) result = std::move(later);
  }
  const bool is_stuck = result.fault && (result.fault->kind == vgpu::FaultKind::deadlock ||
                                         result.fault->kind == vgpu::FaultKind::budget_exceeded);
  if (is_stuck) return std::nullopt;
  return result;
}

WatchedBlocks run_watched(const vgpu::Program& program, vgpu::Memory& memory, const vgpu::Launch& launch,
                          std::vector<std::uint64_t> blocks, vgpu::LaunchOptions options) {
  options.only_blocks = blocks;
  return {std::move(blocks), vgpu::run(program, memory, launch, options)};
}

WatchedBlocks run_time_sample_watched(const vgpu::Program& program, vgpu::Memory& memory,
                                      const vgpu::Launch& launch, std::uint64_t seed,
                                      const vgpu::LaunchOptions& options) {
  const bool is_sampled = is_sampled_in_timing(launch);
  WatchedBlocks watched =
      run_watched(program, memory, launch,
                  drawn_blocks(launch, is_sampled ? k_first_blocks : launch.grid.count(), seed), options);
  const bool is_enough = watched.result.counts.total_warp_instructions() >= k_first_enough;
  if (!is_sampled || watched.result.fault || is_enough) return watched;
  return run_watched(program, memory, launch, drawn_blocks(launch, k_sample_blocks, seed), options);
}

}  // namespace kernelites::worker
