// SPDX-License-Identifier: Apache-2.0
// Races in shared memory between blocks of a cluster.
#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/race_report.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

/// An access to a block's memory that is looked at now.
struct Look {
  Warp& warp;
  const Block& memory;
  u32 lane = 0, begin = 0, bytes = 0;
  Use use = Use::load;
  bool is_strong = false;
};

[[noreturn]] void raise_race(const Look& look, u32 byte, u32 rank, u32 warp, u32 pc, bool is_with_write) {
  const u32 line = look.warp.context->image->code[pc].line;
  raise(FaultKind::race, look.lane,
        fmt::format("block {} of the cluster {} byte {} of the shared memory of block {}, which warp {} of "
                    "block {} has {}{}, and "
                    "nothing orders the two: a barrier.cluster (cluster.sync()), or an mbarrier that tells "
                    "the other block, is "
                    "missing between them",
                    look.warp.block->rank,
                    look.use == Use::load    ? "reads"
                    : look.use == Use::store ? "writes"
                                             : "atomically updates",
                    byte, look.memory.rank, warp, rank, is_with_write ? "written" : "read",
                    is_with_write ? fmt::format(" at line {}", line) : ""));
}

/// Against what the block whose memory it is did itself.
void check_against_own(const Look& look) {
  const BlockOrder& order = look.warp.block->order;
  const auto conflict = look.memory.races.find_unordered(
      look.begin, look.bytes, look.use != Use::load,
      [&](u32 other, u32 stamp, bool is_write, bool is_strong) {
        const u32 unit = look.memory.order.unit(other);
        if (!is_write) return order.has_finished(look.warp.index, unit, stamp);
        return (is_strong && look.is_strong) || order.known_of(look.warp.index, unit) >= stamp;
      });
  if (conflict)
    raise_race(look, conflict->byte, look.memory.rank, conflict->other_warp, conflict->other_pc,
               conflict->is_with_write);
}

/// Against what other blocks did to that memory.
void check_against_others(const Look& look) {
  const BlockOrder& order = look.warp.block->order;
  const u32 own_unit = order.unit(look.warp.index);
  const RemoteAccess* other = look.memory.remote.find_unordered(
      look.begin, look.bytes, look.use != Use::load, [&](const RemoteAccess& access) {
        if (access.unit == own_unit || (access.is_strong && look.is_strong)) return true;
        return order.knows_unit(look.warp.index, access.unit, access.stamp) ||
               (access.is_read && order.has_finished(look.warp.index, access.unit, access.stamp));
      });
  if (other != nullptr) raise_race(look, look.begin, other->rank, other->warp, other->pc, true);
}

}  // namespace

void check_cluster_race(Warp& warp, const Instruction& i, Block& memory, const Access& access, Mask mask,
                        u32 bytes, Use use) {
  const bool is_own = &memory == warp.block, is_strong = (i.flags & k_strong_access) != 0;
  if (!warp.block->order.tracks()) return;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest), begin = access.offsets[lane];
    const Look look{.warp = warp,
                    .memory = memory,
                    .lane = lane,
                    .begin = begin,
                    .bytes = bytes,
                    .use = use,
                    .is_strong = is_strong};
    if (memory.races.is_on()) {
      if (!is_own) check_against_own(look);
      check_against_others(look);
    }
    if (!is_own) note_remote(warp, memory, lane, begin, bytes, use != Use::load, is_strong);
    if (access.is_uniform && use == Use::load) break;
  }
  if (is_own || !is_strong) return;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    Published& at = memory.published[access.offsets[lowest_lane(rest)]];
    warp.block->order.access(warp.index, i.flags, use == Use::load, use == Use::atomic, at);
    if (access.is_uniform) return;
  }
}

}  // namespace kernelites::worker::vgpu
