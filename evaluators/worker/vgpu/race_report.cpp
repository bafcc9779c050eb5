// SPDX-License-Identifier: Apache-2.0
// The words for races, and the one race that is none: a store of what is there already.
#include "evaluators/worker/vgpu/race_report.h"

#include <algorithm>

#include <fmt/core.h>

namespace kernelites::worker::vgpu {
namespace {

const char* does(Use use) {
  return use == Use::load ? "reads" : use == Use::store ? "writes" : "atomically updates";
}

u32 line_of(const Warp& warp, u32 pc) {
  const auto& code = warp.context->image->code;
  return pc < code.size() ? code[pc].line : 0;
}

std::string at_line(const Warp& warp, u32 pc) {
  const u32 line = line_of(warp, pc);
  return line == 0 ? "" : fmt::format(" at line {}", line);
}

std::string shared_text(const Warp& warp, Use use, const SharedConflict& conflict) {
  if (conflict.other_warp == warp.index) {
    // Lanes of one warp are seen first also where a tile of the whole block lacks its barrier.
    const char* barrier =
        warp.context->warps_per_block == 1
            ? "a __syncwarp() is missing between them"
            : "a barrier is missing between them: __syncthreads() where other warps write or "
              "read these bytes too, __syncwarp() where only this warp does";
    return fmt::format(
        "lane {} of warp {} {} byte {} of shared memory, which lane {} of the same warp has written{}: {}",
        conflict.lane, warp.index, does(use), conflict.byte, conflict.other_lane,
        at_line(warp, conflict.other_pc), barrier);
  }
  const std::string other =
      conflict.is_with_write
          ? fmt::format("warp {} has written{}", conflict.other_warp, at_line(warp, conflict.other_pc))
      : conflict.other_warp == ~0u ? "other warps have read"
                                   : fmt::format("warp {} has read", conflict.other_warp);
  return fmt::format(
      "warp {} {} byte {} of shared memory, which {}, and nothing orders the two: a __syncthreads() is "
      "missing between "
      "them",
      warp.index, does(use), conflict.byte, other);
}

std::string block_name(const Warp& warp, u64 block) {
  const Dim3 grid = warp.context->launch->grid;
  return fmt::format("block ({},{},{})", block % grid.x, block / grid.x % grid.y,
                     block / (u64{grid.x} * grid.y));
}

constexpr const char* k_advice_between_blocks =
    "blocks of one launch run in any order. Give each block its own part, use atomics, or hand over: the "
    "writer stores, "
    "calls __threadfence() and then sets a flag or counter atomically, which the reader reads atomically "
    "first";

constexpr const char* k_advice_to_fence =
    "The block has read these bytes before that write, and no fence came since: the L1 cache may still "
    "answer with the "
    "old value. Call __threadfence() behind the read of the flag or counter (and before the barrier that "
    "tells the "
    "other threads), or read the data through volatile or __ldcg()";

constexpr const char* k_advice_constant =
    "A load by ld.global.nc (__ldg, a const __restrict__ pointer) may read only what no thread writes during "
    "the "
    "launch, however the two are ordered. Read it through a plain pointer without __restrict__";

std::string global_text(const Warp& warp, const Region& region, Use use, const GlobalConflict& conflict) {
  const u64 other_block = conflict.other_unit / warp.context->warps_per_block;
  const bool is_same_block = conflict.is_in_block;
  std::string other = is_same_block ? "other warps of the block have" : "other blocks have";
  if (conflict.other_unit != ~0u && is_same_block)
    other = fmt::format("warp {} of the block has", conflict.other_unit % warp.context->warps_per_block);
  else if (conflict.other_unit != ~0u)
    other = block_name(warp, other_block) + " has";
  if (!conflict.is_with_write)
    other += " read";
  else
    other += (conflict.is_strong ? " written with an atomic or volatile access" : " written") +
             at_line(warp, conflict.other_pc);
  if (conflict.is_stale) {
    return fmt::format("{} reads byte {} of '{}', which {}. {}", block_name(warp, warp.block->index),
                       conflict.byte, region.name, other, k_advice_to_fence);
  }
  if (conflict.is_constant) {
    return fmt::format("{} reads byte {} of '{}', which {} in this launch. {}",
                       block_name(warp, warp.block->index), conflict.byte, region.name, other,
                       k_advice_constant);
  }
  const char* advice = is_same_block ? "a __syncthreads() is missing between them" : k_advice_between_blocks;
  return fmt::format("{} {} byte {} of '{}', which {}, and nothing orders the two: {}",
                     is_same_block ? fmt::format("warp {}", warp.index) : block_name(warp, warp.block->index),
                     does(use), conflict.byte, region.name, other, advice);
}

/// Throws what cannot be harmless; keeps stores over others' stores until it is known what they changed.
template <class Conflict, class Text>
void report(Warp& warp, const Access& access, u32 bytes, Use use, const std::vector<Conflict>& conflicts,
            Text text) {
  auto overwrite = std::make_unique<Overwrite>();
  overwrite->bytes = bytes;
  for (const Conflict& conflict : conflicts) {
    Raised raised{.kind = FaultKind::race, .message = text(conflict), .lane = conflict.lane};
    if (use != Use::store || !conflict.is_with_write) throw raised;
    Overwrite::Lane lane{.raised = std::move(raised), .at = access.base + access.offsets[conflict.lane]};
    std::memcpy(lane.before.data(), lane.at, bytes);
    overwrite->lanes.push_back(std::move(lane));
  }
  warp.block->overwrite = std::move(overwrite);
}

}  // namespace

std::string early_read_text(const Warp& warp, const Region& region, const EarlyGlobalRead& early) {
  const bool is_same_block = early.block == warp.block->index;
  const std::string writer =
      is_same_block ? fmt::format("warp {} of the block", warp.index) : block_name(warp, warp.block->index);
  return fmt::format(
      "bytes {} to {} of '{}' are read before {} writes them{}, and nothing orders the two: {}", early.begin,
      early.end - 1, region.name, writer, at_line(warp, warp.pc),
      is_same_block ? "a __syncthreads() is missing between them" : k_advice_between_blocks);
}

void check_shared_race(Warp& warp, const Instruction& i, const Access& access, Mask mask, u32 bytes,
                       Use use) {
  Block& block = *warp.block;
  const bool is_strong = (i.flags & k_strong_access) != 0;
  const SharedAccess shared{.offsets = access.offsets,
                            .mask = mask,
                            .bytes = bytes,
                            .is_contiguous = access.is_contiguous,
                            .is_uniform = access.is_uniform,
                            .is_strong = is_strong,
                            .is_atomic = use == Use::atomic,
                            .warp = warp.index,
                            .pc = warp.pc};
  SharedConflicts conflicts = use == Use::load ? block.races.read(shared) : block.races.write(shared);
  if (use != Use::load) block.order.touch(warp.index);
  if (!conflicts.empty()) [[unlikely]] {
    // What concerns other warps asks for more than what concerns lanes of this one: it is told.
    std::stable_partition(conflicts.begin(), conflicts.end(),
                          [&](const SharedConflict& conflict) { return conflict.other_warp != warp.index; });
    report(warp, access, bytes, use, conflicts,
           [&](const SharedConflict& conflict) { return shared_text(warp, use, conflict); });
  }
  if (!is_strong || !block.order.tracks()) return;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    Published& at = block.published[access.offsets[lowest_lane(rest)]];
    block.order.access(warp.index, i.flags, use == Use::load, use == Use::atomic, at);
    if (access.is_uniform) return;
  }
}

void check_global_race(Warp& warp, const Instruction& i, const Region& region, const Access& access,
                       Mask mask, u32 bytes, Use use) {
  const GlobalAccess global{.offsets = access.offsets,
                            .mask = mask,
                            .bytes = bytes,
                            .is_uniform = access.is_uniform,
                            .is_load = use == Use::load,
                            .is_update = use == Use::atomic,
                            .flags = i.flags,
                            .warp = warp.index,
                            .pc = warp.pc};
  const GlobalConflicts conflicts = warp.context->state->races->access(region, global, warp.block->order);
  if (conflicts.empty()) [[likely]]
    return;
  report(warp, access, bytes, use, conflicts,
         [&](const GlobalConflict& conflict) { return global_text(warp, region, use, conflict); });
}

void settle_overwrite(Warp& warp) {
  const std::unique_ptr<Overwrite> overwrite = std::move(warp.block->overwrite);
  for (const Overwrite::Lane& lane : overwrite->lanes) {
    if (std::memcmp(lane.at, lane.before.data(), overwrite->bytes) != 0) throw lane.raised;
  }
}

}  // namespace kernelites::worker::vgpu
