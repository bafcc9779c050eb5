// SPDX-License-Identifier: Apache-2.0
// Checking of accesses to shared memory.
#include <algorithm>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/access_shape.h"
#include "evaluators/worker/vgpu/race_report.h"
#include "evaluators/worker/vgpu/traffic.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

/// A read of unwritten shared memory. If another warp writes it before the next barrier, that barrier is missing and it
/// is a race; so the verdict waits until then (Block::early_read).
void note_early_read(Warp& warp, u32 lane, u32 offset, u32 bytes, Use use) {
  const u32 first = offset + first_unwritten(warp.block->shared_state.data() + offset, bytes);
  EarlyRead early;
  early.raised = {
      .kind = FaultKind::uninitialised,
      .message = fmt::format("{} of {} bytes of shared memory at byte {}: byte {} was never written; a read "
                             "counts also where what was read is masked later",
                             verb(use), bytes, offset, first),
      .lane = lane,
      .warp = static_cast<int>(warp.index),
      .pc = warp.pc};
  early.begin = first;
  early.end = offset + bytes;
  if (!warp.block->races.is_on() || warp.context->warps_per_block == 1) throw early.raised;
  warp.block->early_read = std::move(early);
}

void check_early_read(Warp& warp, const Access& access, Mask mask, u32 bytes) {
  const EarlyRead& early = *warp.block->early_read;
  if (early.raised.warp == static_cast<int>(warp.index)) return;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 offset = access.offsets[lowest_lane(rest)];
    if (offset >= early.end || offset + bytes <= early.begin) continue;
    Raised raised = early.raised;
    raised.kind = FaultKind::race;
    raised.message = fmt::format(
        "warp {} reads byte {} of shared memory before warp {} writes it at line {}: a __syncthreads() is "
        "missing between them",
        raised.warp, early.begin, warp.index, warp.context->image->code[warp.pc].line);
    throw raised;
  }
}

const char* advice_to_wait(const Warp& warp) {
  return warp.block->bulk_copies.empty()
             ? "its cp.async.wait_group (and the barrier behind it) is missing or waits for too few groups"
             : "the wait for its mbarrier is missing, or waits for another phase (a wrong parity) or stage";
}

/// A store into bytes that a copy is about to fill: which of the two stays is open.
void check_copies(Warp& warp, const Access& access, Mask mask, u32 bytes) {
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest);
    const u8* const state = warp.block->shared_state.data() + access.offsets[lane];
    if (std::find(state, state + bytes, k_copy_pending) == state + bytes) continue;
    raise(FaultKind::copy_not_waited, lane,
          fmt::format("write of byte {} of shared memory, which an asynchronous copy is still filling: {}",
                      access.offsets[lane], advice_to_wait(warp)));
  }
}

void check_shared_state(Warp& warp, const Access& access, Mask mask, u32 bytes, Use use) {
  u8* state = warp.block->shared_state.data();
  u32 lane = 0;
  if (use != Use::store && has_unwritten(state, access, mask, bytes, lane)) {
    const u8* bytes_of_lane = state + access.offsets[lane];
    if (std::find(bytes_of_lane, bytes_of_lane + bytes, k_copy_pending) != bytes_of_lane + bytes) {
      raise(FaultKind::copy_not_waited, lane,
            fmt::format("{} of byte {} of shared memory, which an asynchronous copy is still filling: {}",
                        verb(use), access.offsets[lane], advice_to_wait(warp)));
    }
    if (warp.context->options.checks.uninitialised && !warp.block->early_read) {
      note_early_read(warp, lane, access.offsets[lane], bytes, use);
    }
  }
  if (use == Use::load) return;
  if (warp.block->pending_copies != 0) check_copies(warp, access, mask, bytes);
  if (!warp.block->reading.empty()) {
    for (Mask rest = mask; rest != 0; rest &= rest - 1)
      require_not_reading(warp, lowest_lane(rest), access.offsets[lowest_lane(rest)], bytes);
  }
  if (warp.block->early_read) check_early_read(warp, access, mask, bytes);
  set_state(state, access, mask, bytes, k_written);
}

}  // namespace

void resolve_shared(Warp& warp, const Instruction& i, Mask mask, u32 bytes, Use use, Access& access) {
  const u32 size = warp.context->shared_bytes;
  access.base = warp.block->shared.data();
  const Offense offense = finish_offsets(access, mask, bytes, size - bytes);
  if (offense.is_outside || size < bytes) {
    for (Mask rest = mask; rest != 0; rest &= rest - 1) {
      const u32 l = lowest_lane(rest);
      if (u64{access.offsets[l]} + bytes <= size) continue;
      raise(FaultKind::out_of_bounds, l,
            fmt::format(
                "{} of {} bytes at byte {} of shared memory, which has {} bytes ({} static, {} dynamic)",
                verb(use), bytes, static_cast<i32>(access.offsets[l]), size,
                warp.context->image->static_shared_bytes, warp.context->launch->dynamic_shared_bytes));
    }
  }
  if (offense.is_misaligned) {
    const u32 lane = first_misaligned(access, mask, bytes);
    fault_misaligned(lane, bytes, use, "shared memory", access.offsets[lane]);
  }
  check_shared_state(warp, access, mask, bytes, use);
  note_poll(warp, i, access, use);
  if (warp.block->races.is_on()) check_shared_race(warp, i, access, mask, bytes, use);
  if (warp.tally != nullptr) count_shared(warp, i, access, mask, bytes);
}

}  // namespace kernelites::worker::vgpu
