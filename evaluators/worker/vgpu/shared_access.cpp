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

/// "shared memory", or whose.
std::string memory_name(const Warp& warp, const Block& memory) {
  if (&memory == warp.block) return "shared memory";
  return fmt::format("the shared memory of block {} of the cluster", memory.rank);
}

/// Does an address of shared memory name another block of the cluster?
bool is_mapped(const Warp& warp, u32 address) {
  const u32 number = address >> k_peer_shift;
  return warp.block->cluster != nullptr && number != 0 && number <= warp.block->cluster->blocks.size();
}

/// A read of unwritten shared memory. If another warp writes it before the next barrier, that barrier is missing and it
/// is a race; so the verdict waits until then (Block::early_read, early_remote).
void note_early_read(Warp& warp, Block& memory, u32 lane, u32 offset, u32 bytes, Use use) {
  const bool is_remote = &memory != warp.block;
  if (is_remote ? memory.early_remote.has_value() : memory.early_read.has_value()) return;
  const u32 first = offset + first_unwritten(memory.shared_state.data() + offset, bytes);
  EarlyRead early;
  early.raised = {.kind = FaultKind::uninitialised,
                  .message = fmt::format("{} of {} bytes of {} at byte {}: byte {} was never written; a read "
                                         "counts also where what was read is masked later",
                                         verb(use), bytes, memory_name(warp, memory), offset, first),
                  .lane = lane,
                  .warp = static_cast<int>(warp.index),
                  .pc = warp.pc,
                  .block = warp.block};
  early.begin = first;
  early.end = offset + bytes;
  const bool is_certain = !is_remote && warp.context->warps_per_block == 1 && memory.cluster == nullptr;
  if (!memory.races.is_on() || is_certain) throw early.raised;
  (is_remote ? memory.early_remote : memory.early_read) = std::move(early);
}

void check_early_read(Warp& warp, const Block& memory, const EarlyRead& early, const Access& access,
                      Mask mask, u32 bytes) {
  if (early.raised.block == warp.block && early.raised.warp == static_cast<int>(warp.index)) return;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 offset = access.offsets[lowest_lane(rest)];
    if (offset >= early.end || offset + bytes <= early.begin) continue;
    Raised raised = early.raised;
    raised.kind = FaultKind::race;
    const u32 line = warp.context->image->code[warp.pc].line;
    raised.message =
        early.raised.block == warp.block && warp.block == &memory
            ? fmt::format(
                  "warp {} reads byte {} of shared memory before warp {} writes it at line {}: a "
                  "__syncthreads() is missing between them",
                  raised.warp, early.begin, warp.index, line)
            : fmt::format(
                  "block {} of the cluster reads byte {} of the shared memory of block {} before block {} "
                  "writes it at line {}: a barrier.cluster (cluster.sync()) is missing between them",
                  early.raised.block->rank, early.begin, memory.rank, warp.block->rank, line);
    throw raised;
  }
}

const char* advice_to_wait(const Block& memory) {
  return memory.bulk_copies.empty()
             ? "its cp.async.wait_group (and the barrier behind it) is missing or waits for too few groups"
             : "the wait for its mbarrier is missing, or waits for another phase (a wrong parity) or stage";
}

/// A store into bytes that a copy is about to fill: which of the two stays is open.
void check_copies(Warp& warp, const Block& memory, const Access& access, Mask mask, u32 bytes) {
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest);
    const u8* const state = memory.shared_state.data() + access.offsets[lane];
    if (std::find(state, state + bytes, k_copy_pending) == state + bytes) continue;
    raise(FaultKind::copy_not_waited, lane,
          fmt::format("write of byte {} of {}, which an asynchronous copy is still filling: {}",
                      access.offsets[lane], memory_name(warp, memory), advice_to_wait(memory)));
  }
}

void check_shared_state(Warp& warp, Block& memory, const Access& access, Mask mask, u32 bytes, Use use) {
  u8* state = memory.shared_state.data();
  u32 lane = 0;
  if (use != Use::store && has_unwritten(state, access, mask, bytes, lane)) {
    const u8* bytes_of_lane = state + access.offsets[lane];
    if (std::find(bytes_of_lane, bytes_of_lane + bytes, k_copy_pending) != bytes_of_lane + bytes) {
      raise(FaultKind::copy_not_waited, lane,
            fmt::format("{} of byte {} of {}, which an asynchronous copy is still filling: {}", verb(use),
                        access.offsets[lane], memory_name(warp, memory), advice_to_wait(memory)));
    }
    if (warp.context->options.checks.uninitialised)
      note_early_read(warp, memory, lane, access.offsets[lane], bytes, use);
  }
  if (use == Use::load) return;
  if (memory.pending_copies != 0) check_copies(warp, memory, access, mask, bytes);
  if (!memory.reading.empty()) {
    for (Mask rest = mask; rest != 0; rest &= rest - 1)
      require_not_reading(memory, lowest_lane(rest), access.offsets[lowest_lane(rest)], bytes);
  }
  if (memory.early_read) check_early_read(warp, memory, *memory.early_read, access, mask, bytes);
  if (memory.early_remote) check_early_read(warp, memory, *memory.early_remote, access, mask, bytes);
  set_state(state, access, mask, bytes, k_written);
}

}  // namespace

void resolve_shared(Warp& warp, const Instruction& i, Mask mask, u32 bytes, Use use, Access& access) {
  resolve_memory(warp, *warp.block, i, mask, bytes, use, access);
}

Mask resolve_in_cluster(Warp& warp, const Instruction& i, const u64* addresses, Mask mask, u32 bytes, Use use,
                        Access& access) {
  const u32 first = lowest_lane(mask);
  Block& memory = block_of_address(warp, static_cast<u32>(addresses[first]), first);
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest);
    if (&block_of_address(warp, static_cast<u32>(addresses[lane]), lane) != &memory)
      mask &= ~(Mask{1} << lane);
  }
  KERNELITES_LANES(l) access.offsets[l] = peer_offset(static_cast<u32>(addresses[l]));
  resolve_memory(warp, memory, i, mask, bytes, use, access);
  return mask;
}

void resolve_memory(Warp& warp, Block& memory, const Instruction& i, Mask mask, u32 bytes, Use use,
                    Access& access) {
  const u32 size = warp.context->shared_bytes;
  access.base = memory.shared.data();
  require_peer(warp, memory, lowest_lane(mask));
  const Offense offense = finish_offsets(access, mask, bytes, size - bytes);
  if (offense.is_outside || size < bytes) {
    for (Mask rest = mask; rest != 0; rest &= rest - 1) {
      const u32 l = lowest_lane(rest);
      if (u64{access.offsets[l]} + bytes <= size) continue;
      if (is_mapped(warp, access.offsets[l])) {
        raise(FaultKind::out_of_bounds, l,
              fmt::format(
                  "{} of {} bytes at an address of another block of the cluster, where only the own shared "
                  "memory may be named: an address that mapa made needs .shared::cluster",
                  verb(use), bytes));
      }
      raise(
          FaultKind::out_of_bounds, l,
          fmt::format("{} of {} bytes at byte {} of {}, which has {} bytes ({} static, {} dynamic)",
                      verb(use), bytes, static_cast<i32>(access.offsets[l]), memory_name(warp, memory), size,
                      warp.context->image->static_shared_bytes, warp.context->launch->dynamic_shared_bytes));
    }
  }
  if (offense.is_misaligned) {
    const u32 lane = first_misaligned(access, mask, bytes);
    fault_misaligned(lane, bytes, use, "shared memory", access.offsets[lane]);
  }
  check_shared_state(warp, memory, access, mask, bytes, use);
  note_poll(warp, i, access, use);
  if (memory.races.is_on() && &memory == warp.block) check_shared_race(warp, i, access, mask, bytes, use);
  if (&memory != warp.block || !memory.remote.is_empty())
    check_cluster_race(warp, i, memory, access, mask, bytes, use);
  if (warp.tally != nullptr) count_shared(warp, i, access, mask, bytes);
}

}  // namespace kernelites::worker::vgpu
