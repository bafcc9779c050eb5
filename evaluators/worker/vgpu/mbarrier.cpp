// SPDX-License-Identifier: Apache-2.0
// Phases of mbarriers, and the lanes that wait for them.
#include "evaluators/worker/vgpu/mbarrier.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/register_budget.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_max_timeouts = 3;
constexpr u32 k_max_failed_tests = 64;  ///< mbarrier.test_wait in vain, before the warp waits

void end_phase_if_complete(Block& block, MBarrier& barrier) {
  if (barrier.pending != 0 || barrier.transactions != 0) return;
  ++barrier.phase;
  barrier.pending = barrier.expected;
  barrier.past = std::exchange(barrier.coming, {});
  barrier.past_units.join(std::exchange(barrier.coming_units, {}));
  barrier.past_copy = std::exchange(barrier.coming_copy, std::nullopt);
  block.timeouts = 0;
  wake(block);
  if (LaunchState* const state = block.context->state; state != nullptr) ++state->changes;
}

/// The lanes whose phase has ended. They learn what its arrivals knew.
Mask test(Warp& warp, const Instruction& i, Mask mask) {
  u64 addresses[k_lanes];
  read_addresses(warp, i, addresses);
  const u32* parity = lanes_of<u32>(warp, i.b);
  const u64* token = lanes_of<u64>(warp, i.b);
  Mask done = 0;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest);
    MBarrier& barrier = find_mbarrier(*warp.block, static_cast<u32>(addresses[lane]), lane);
    const bool is_by_parity = i.mode == k_wait_by_parity;
    const bool is_done = is_by_parity ? (barrier.phase & 1) != (parity[lane] & 1)
                                      : barrier.phase != static_cast<u32>(token[lane]);
    if (!is_done) continue;
    done |= Mask{1} << lane;
    barrier.past_copy.reset();
    warp.block->met.join(barrier.past_units);
    if ((i.extra & k_wait_relaxed) != 0)
      warp.block->order.acquire_at_fence(warp.index, barrier.past);
    else
      warp.block->order.acquire(warp.index, barrier.past);
  }
  if (done != 0) warp.block->order.sync_lanes(warp.index);
  return done;
}

}  // namespace

void wake(Block& block) {
  note_cluster_change(block);
  for (Warp& warp : block.warps) {
    for (Group& group : warp.groups) {
      if (group.wait != Wait::event) continue;
      group.wait = Wait::none;
      warp.merge_pc = 0;
    }
  }
}

MBarrier& find_mbarrier(Block& block, u32 offset, u32 lane) {
  const auto found = block.mbarriers.find(offset);
  if (found != block.mbarriers.end()) return found->second;
  raise(FaultKind::barrier_misuse, lane,
        fmt::format(
            "there is no mbarrier at byte {} of shared memory: no mbarrier.init has been executed for it",
            offset));
}

void require_mbarrier(Warp& warp, Block& block, const Instruction& i, u32 offset, u32 lane) {
  require_peer(warp, block, lane);
  find_mbarrier(block, offset, lane);
  if (&block == warp.block) return;
  Instruction completion = i;
  completion.flags |= k_strong_access;
  Access access;
  KERNELITES_LANES(l) access.offsets[l] = offset;
  Tally* const tally = warp.tally;  // no request of memory
  warp.tally = nullptr;
  resolve_memory(warp, block, completion, Mask{1} << lane, k_mbarrier_bytes, Use::atomic, access);
  warp.tally = tally;
}

void fence_initialised(Warp& warp, Mask mask) {
  warp.block->order.fence_init(warp.index);
  const u32 unit = warp.block->order.unit(warp.index);
  for (auto& [offset, barrier] : warp.block->mbarriers)
    barrier.is_fenced |= barrier.unit == unit && is_active(mask, barrier.lane);
}

void look_for_init_fence(Warp& warp, const MBarrier& barrier, u32 lane) {
  if (barrier.is_fenced || warp.block->order.is_unit_proxied(warp.index, barrier.unit, barrier.stamp)) return;
  const std::string where = barrier.line == 0 ? "" : fmt::format(" at line {}", barrier.line);
  remark(warp, FaultKind::unfenced_mbarrier_init, lane,
         fmt::format(
             "a copy completes at an mbarrier that was initialised{} without a fence: PTX asks for "
             "fence.mbarrier_init.release.cluster (or fence.proxy.async) by the thread that initialises, "
             "before the barrier that tells the others",
             where));
}

void arrive_at_mbarrier(Warp& warp, Block& block, MBarrier& barrier, u32 count, u32 lane,
                        BlockOrder::Release part) {
  if (count > barrier.pending) {
    raise(FaultKind::barrier_misuse, lane,
          fmt::format(
              "{} arrivals at an mbarrier (initialised at line {} for {}) whose phase {} waits for {} more{}",
              count, barrier.line, barrier.expected, barrier.phase, barrier.pending,
              barrier.transactions != 0 ? fmt::format(" and for {} bytes", barrier.transactions) : ""));
  }
  BlockOrder& order = warp.block->order;
  if (&block != warp.block && part != BlockOrder::Release::everything)
    barrier.coming_units.raise(order.unit(warp.index), order.now());
  order.release(warp.index, barrier.coming, part);
  barrier.pending -= count;
  end_phase_if_complete(block, barrier);
}

void bring_bytes(Block& block, MBarrier& barrier, u32 bytes, const BlockOrder::Gate& known,
                 std::optional<BringingCopy> copy) {
  if (copy) barrier.coming_copy = copy;
  barrier.coming.join(known);
  barrier.transactions -= bytes;
  end_phase_if_complete(block, barrier);
}

void arrive_late(Block& block, MBarrier& barrier, const BlockOrder::Gate& known) {
  barrier.coming.join(known);
  if (barrier.pending != 0) --barrier.pending;
  end_phase_if_complete(block, barrier);
}

void wait_at_mbarrier(Warp& warp, const Instruction& i, Mask mask) {
  const Mask done = test(warp, i, mask);
  const bool has_timed_out = std::exchange(warp.has_timed_out, false);
  const bool is_test = (i.extra & k_wait_tests) != 0;
  if (done != 0) warp.failed_tests = 0;
  if (done != 0 || has_timed_out || (is_test && ++warp.failed_tests < k_max_failed_tests)) {
    write_predicate(warp, i.d, done, mask);
    ++warp.pc;
    return;
  }
  warp.groups.push_back({warp.pc, mask, Wait::event, 0});
  warp.active &= ~mask;
  if (warp.active != 0)
    ++warp.pc;
  else
    pick_group(warp);
}

bool time_out_waits(Block& block) {
  bool any = false;
  for (Warp& warp : block.warps) {
    const bool waits = std::any_of(warp.groups.begin(), warp.groups.end(),
                                   [](const Group& group) { return group.wait == Wait::event; });
    warp.has_timed_out = waits;
    any |= waits;
  }
  if (!any || block.timeouts == k_max_timeouts) return false;
  ++block.timeouts;
  wake(block);
  return true;
}

std::string mbarrier_waits(const Block& block, u32 limit) {
  std::string text;
  for (const Warp& warp : block.warps) {
    for (const Group& group : warp.groups) {
      if (group.wait != Wait::event || limit == 0) continue;
      --limit;
      const Instruction& i = block.context->image->code[group.pc];
      if (i.flow == Flow::wgmma_wait) {
        text += fmt::format(
            "; warp {} waits at line {} for a wgmma that other warps of its warpgroup have not issued",
            warp.index, i.line);
        continue;
      }
      if (i.flow == Flow::register_count) {
        text += fmt::format("; warp {} waits at line {} {}", warp.index, i.line,
                            register_wait_text(block, warp, i));
        continue;
      }
      if (i.flow == Flow::cluster_barrier) {
        text += fmt::format("; warp {} waits at line {} for the cluster, where {}", warp.index, i.line,
                            cluster_barrier_text(block));
        continue;
      }
      const u32 lane = lowest_lane(group.mask);
      u64 addresses[k_lanes];
      read_addresses(const_cast<Warp&>(warp), i, addresses);
      const u32 offset = static_cast<u32>(addresses[lane]);
      const auto found = block.mbarriers.find(offset);
      if (found == block.mbarriers.end()) continue;
      const MBarrier& barrier = found->second;
      text += fmt::format(
          "; warp {} waits at line {} for the end of phase {} of the mbarrier at byte {} (initialised at "
          "line {}), ",
          warp.index, i.line, barrier.phase, offset, barrier.line);
      if (barrier.pending != 0)
        text += fmt::format("where {} of {} arrivals are missing", barrier.pending, barrier.expected);
      if (barrier.pending != 0 && barrier.transactions != 0) text += " and ";
      if (barrier.transactions > 0)
        text +=
            fmt::format("where {} bytes are missing that were expected by expect_tx and that no copy brings",
                        barrier.transactions);
      if (barrier.transactions < 0)
        text +=
            fmt::format("where {} bytes more have come than expect_tx has announced", -barrier.transactions);
    }
  }
  return text;
}

}  // namespace kernelites::worker::vgpu
