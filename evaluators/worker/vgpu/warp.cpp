// SPDX-License-Identifier: Apache-2.0
// The run loop: fetch, guard, count, dispatch; branches, calls and exits; groups of lanes.
#include "evaluators/worker/vgpu/warp.h"

#include <algorithm>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/calls.h"
#include "evaluators/worker/vgpu/lanes.h"
#include "evaluators/worker/vgpu/ops.h"
#include "evaluators/worker/vgpu/register_budget.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

Mask predicate_of(const Warp& warp, u32 offset) {
  Mask value;
  std::memcpy(&value, warp.registers + offset, sizeof value);
  return value;
}

u32 word_of(const Warp& warp, u32 offset, u32 lane) {
  u32 value;
  std::memcpy(&value, warp.registers + offset + 4 * lane, sizeof value);
  return value;
}

/// The member mask that a lane brings to a warp-wide operation.
Mask members_of(const Warp& warp, const Instruction& i, u32 lane) {
  return i.members != 0 ? i.members : word_of(warp, i.target, lane);
}

/// The lanes of `mask` that bring the same member mask as the first of them: they execute together.
Mask with_same_members(const Warp& warp, const Instruction& i, Mask mask) {
  if (i.members != 0) return mask;
  const Mask members = members_of(warp, i, lowest_lane(mask));
  Mask same = 0;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    if (members_of(warp, i, lowest_lane(rest)) == members) same |= Mask{1} << lowest_lane(rest);
  }
  return same;
}

bool is_barrier(const Instruction& i) { return i.flow == Flow::barrier || i.flow == Flow::cluster_barrier; }

/// The lanes that must be at an instruction before it can execute.
Mask needed_lanes(const Warp& warp, const Instruction& i, Mask here) {
  if (is_barrier(i)) return (i.flags & k_aligned_barrier) != 0 ? warp.alive : here;
  Mask members = 0;  // a lane whose guard is false brings none
  for (Mask rest = here & (predicate_of(warp, i.guard) ^ i.guard_flip); rest != 0;
       rest &= ~with_same_members(warp, i, rest)) {
    members |= members_of(warp, i, lowest_lane(rest));
  }
  return members & warp.alive;
}

/// Where the run loop must stop to look at the other groups: one to merge with, or one that comes first.
void update_merge_pc(Warp& warp) {
  u32 pc = ~0u;
  for (const Group& group : warp.groups) {
    const bool is_ahead = group.pc >= warp.pc;
    if (group.wait == Wait::none && (is_ahead || !warp.favours_running)) pc = std::min(pc, group.pc);
    if (group.wait == Wait::lanes && is_ahead) pc = std::min(pc, group.pc);
  }
  warp.merge_pc = pc;
}

void merge_at_pc(Warp& warp) {
  std::erase_if(warp.groups, [&](const Group& group) {
    if (group.wait == Wait::barrier || group.pc != warp.pc) return false;
    warp.active |= group.mask;
    return true;
  });
}

/// Merges with groups at the same pc, or gives way to one with a lower pc.
void meet_groups(Warp& warp) {
  merge_at_pc(warp);
  const bool is_first = std::none_of(warp.groups.begin(), warp.groups.end(), [&](const Group& group) {
    return group.wait == Wait::none && group.pc < warp.pc;
  });
  if (is_first || warp.favours_running) return update_merge_pc(warp);
  warp.groups.push_back({warp.pc, warp.active, Wait::none, 0});
  warp.active = 0;
  pick_group(warp);
}

void resume(Warp& warp, std::size_t index) {
  warp.pc = warp.groups[index].pc;
  warp.active = warp.groups[index].mask;
  warp.groups.erase(warp.groups.begin() + static_cast<std::ptrdiff_t>(index));
  merge_at_pc(warp);
  update_merge_pc(warp);
}

std::string lanes_text(Mask mask) {
  std::string text;
  for (u32 l = 0; l < k_lanes;) {
    if ((mask >> l & 1) == 0) {
      ++l;
      continue;
    }
    u32 end = l;
    while (end < k_lanes && (mask >> end & 1) != 0) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", l);
    if (end > l + 1) text += fmt::format("-{}", end - 1);
    l = end;
  }
  return text;
}

/// A group waits for lanes that cannot come any more.
[[noreturn]] void fault_stuck(Warp& warp, const Group& group) {
  const Instruction& i = warp.context->image->code[group.pc];
  const Mask missing = needed_lanes(warp, i, group.mask) & ~group.mask;
  std::string elsewhere;
  for (const Group& other : warp.groups) {
    if ((other.mask & missing) == 0) continue;
    const u32 at = other.wait == Wait::barrier ? other.pc - 1 : other.pc;
    elsewhere += fmt::format("; lanes {} wait at line {}", lanes_text(other.mask & missing),
                             warp.context->image->code[at].line);
  }
  warp.pc = group.pc;
  warp.active = group.mask;
  if (is_barrier(i)) {
    raise(FaultKind::divergent_barrier, lowest_lane(group.mask),
          fmt::format("{} is reached by lanes {} of warp {} but not by lanes {}{}",
                      i.flow == Flow::barrier ? "__syncthreads()" : "an aligned barrier.cluster",
                      lanes_text(group.mask), warp.index, lanes_text(missing), elsewhere));
  }
  raise(FaultKind::invalid_shuffle, lowest_lane(group.mask),
        fmt::format("a warp-wide operation names lanes {}, which never reach it{}", lanes_text(missing),
                    elsewhere));
}

void branch(Warp& warp, u32 target, Mask taken) {
  const Mask fall = warp.active & ~taken;
  if (taken == 0) {
    ++warp.pc;
    return;
  }
  if (fall == 0) {
    warp.pc = target;
    if (!warp.groups.empty()) update_merge_pc(warp);
    return;
  }
  ++warp.steps->divergent_branches;
  const bool falls_first = target > warp.pc + 1;
  warp.groups.push_back({falls_first ? target : warp.pc + 1, falls_first ? taken : fall, Wait::none, 0});
  warp.active = falls_first ? fall : taken;
  warp.pc = falls_first ? warp.pc + 1 : target;
  update_merge_pc(warp);
}

void indexed_branch(Warp& warp, const Instruction& i, Mask mask) {
  const u32* targets = warp.context->image->lists.data() + i.list;
  const Mask skipped = warp.active & ~mask;
  if (skipped != 0) warp.groups.push_back({warp.pc + 1, skipped, Wait::none, 0});
  for (Mask rest = mask; rest != 0;) {
    const u32 index = word_of(warp, i.a, lowest_lane(rest));
    if (index >= i.extra) raise(FaultKind::trap, lowest_lane(rest), "an indexed branch beyond its targets");
    Mask same = 0;
    for (Mask lanes = rest; lanes != 0; lanes &= lanes - 1) {
      if (word_of(warp, i.a, lowest_lane(lanes)) == index) same |= Mask{1} << lowest_lane(lanes);
    }
    warp.groups.push_back({targets[index], same, Wait::none, 0});
    rest &= ~same;
  }
  warp.active = 0;
  if (mask != 0) pick_group(warp);
}

void call(Warp& warp, const Instruction& i, Mask mask) {
  if (mask == 0) {
    ++warp.pc;
    return;
  }
  enter_call(warp, i, mask);
  if (!warp.groups.empty()) update_merge_pc(warp);
}

void exit_lanes(Warp& warp, Mask mask) {
  warp.alive &= ~mask;
  warp.active &= ~mask;
  if (warp.alive == 0) {
    warp.is_done = true;
    return;
  }
  if (warp.active != 0)
    ++warp.pc;
  else
    pick_group(warp);
}

void return_lanes(Warp& warp, Mask mask) {
  const Mask leaving = leave_call(warp, mask);
  const Mask staying = warp.active & ~mask;
  if (leaving == 0) {
    warp.active = staying;
    if (staying != 0) ++warp.pc;
    if (staying == 0)
      pick_group(warp);
    else
      update_merge_pc(warp);
    return;
  }
  warp.active = staying | leaving;
  exit_lanes(warp, leaving);
}

/// A lane may only execute a warp-wide operation whose member mask names it.
void require_own_membership(const Warp& warp, const Instruction& i, Mask mask) {
  Mask outside = 0;
  for (Mask rest = mask; rest != 0;) {
    const Mask same = with_same_members(warp, i, rest);
    outside |= same & ~members_of(warp, i, lowest_lane(same));
    rest &= ~same;
  }
  if (outside == 0) return;
  raise(FaultKind::invalid_shuffle, lowest_lane(outside),
        fmt::format("lanes {} execute a warp-wide operation whose member mask does not name them",
                    lanes_text(outside)));
}

/// Executes an instruction that needs certain lanes at once, or parks the group until they come.
bool wait_for_lanes(Warp& warp, const Instruction& i) {
  const Mask needed = needed_lanes(warp, i, warp.active);
  // A __syncwarp() waits for those that have not exited; what exchanges values wants all of them.
  const bool is_exchange = i.flow == Flow::warp_sync && i.op_class != OpClass::barrier;
  const Mask exited = is_exchange && i.members != 0 ? i.members & ~warp.alive & warp.existing : 0;
  if (exited != 0) {
    raise(FaultKind::invalid_shuffle, lowest_lane(warp.active),
          fmt::format("the member mask {:#x} names lanes {}, which have exited", i.members,
                      lanes_text(exited)));
  }
  if ((warp.active & needed) == needed) return true;
  warp.groups.push_back({warp.pc, warp.active, Wait::lanes, 0});
  warp.active = 0;
  pick_group(warp);
  return false;
}

void control(Warp& warp, const Instruction& i, Mask mask) {
  switch (i.flow) {
    case Flow::plain:
      break;
    case Flow::branch:
      return branch(warp, i.target, mask);
    case Flow::indexed_branch:
      return mask == 0 ? void(++warp.pc) : indexed_branch(warp, i, mask);
    case Flow::call:
      return call(warp, i, mask);
    case Flow::ret:
      return mask == 0 ? void(++warp.pc) : return_lanes(warp, mask);
    case Flow::exit:
      return mask == 0 ? void(++warp.pc) : exit_lanes(warp, mask);
    case Flow::barrier:
      if (mask == 0)
        ++warp.pc;
      else if (wait_for_lanes(warp, i))
        arrive_at_barrier(warp, i, mask);
      return;
    case Flow::mbarrier_wait:
      return mask == 0 ? void(++warp.pc) : wait_at_mbarrier(warp, i, mask);
    case Flow::cluster_barrier:
      if (mask == 0)
        ++warp.pc;
      else if (wait_for_lanes(warp, i))
        meet_cluster(warp, i, mask);
      return;
    case Flow::register_count:
      require_whole_warp(warp, mask, "setmaxnreg");
      return set_register_count(warp, i, mask);
    case Flow::wgmma_wait:
      require_whole_warp(warp, mask, "wgmma.wait_group");
      return wait_for_wgmma(warp, i, mask);
    case Flow::warp_sync:
      require_own_membership(warp, i, mask);
      if (!wait_for_lanes(warp, i)) return;
      if (mask != 0) warp.block->order.sync_lanes(warp.index);
      for (Mask rest = mask; rest != 0;) {
        const Mask same = with_same_members(warp, i, rest);
        i.handler(warp, i, same);
        rest &= ~same;
      }
      ++warp.pc;
      return;
  }
}

}  // namespace

void raise(FaultKind kind, u32 lane, std::string message) { throw Raised{kind, std::move(message), lane}; }

bool can_run(const Warp& warp) {
  if (warp.is_done) return false;
  if (warp.active != 0) return true;
  bool has_lanes = false, has_parked = false;
  for (const Group& group : warp.groups) {
    if (group.wait == Wait::none) return true;
    has_lanes |= group.wait == Wait::lanes;
    has_parked |= group.wait == Wait::event;
  }
  return has_lanes && !has_parked;  // the lanes that are waited for may be among the parked ones
}

bool pick_group(Warp& warp) {
  warp.favours_running = false;
  std::size_t best = warp.groups.size();
  for (std::size_t k = 0; k < warp.groups.size(); ++k) {
    if (warp.groups[k].wait != Wait::none) continue;
    if (best == warp.groups.size() || warp.groups[k].pc < warp.groups[best].pc) best = k;
  }
  for (std::size_t k = 0; best == warp.groups.size() && k < warp.groups.size(); ++k) {
    const Group& group = warp.groups[k];
    if (group.wait != Wait::lanes) continue;
    const Mask needed = needed_lanes(warp, warp.context->image->code[group.pc], group.mask);
    if ((needed & ~group.mask) == 0) best = k;
  }
  if (best < warp.groups.size()) {
    resume(warp, best);
    return true;
  }
  warp.active = 0;
  warp.merge_pc = ~0u;
  const bool has_parked = std::any_of(warp.groups.begin(), warp.groups.end(),
                                      [](const Group& group) { return group.wait == Wait::event; });
  for (const Group& group : warp.groups) {
    if (!has_parked && group.wait == Wait::lanes) fault_stuck(warp, Group(group));
  }
  return false;
}

u64 run_warp(Warp& warp, u64 quantum) {
  const Instruction* const code = warp.context->image->code.data();
  u64* const executed = warp.steps->executed.data();
  u64* const lanes = warp.steps->lanes.data();
  const u64 start = warp.executed;
  warp.turn_end = start + quantum;
  if (warp.active == 0 && !pick_group(warp)) return 0;
  while (warp.active != 0 && warp.executed < warp.turn_end) {
    if (warp.pc >= warp.merge_pc) meet_groups(warp);
    const u32 pc = warp.pc;
    const Instruction& i = code[pc];
    const Mask mask = warp.active & (predicate_of(warp, i.guard) ^ i.guard_flip);
    ++warp.executed;
    ++executed[pc];
    lanes[pc] += lane_count(mask);
    if (!warp.wgmma.flights.empty()) [[unlikely]]
      require_registers_landed(warp, i);
    if (i.flow == Flow::plain) {
      if (mask != 0) i.handler(warp, i, mask);
      ++warp.pc;
    } else {
      control(warp, i, mask);
    }
  }
  // A group that spins on what another group of this warp must do would starve it: let the last group have a turn.
  if (warp.active != 0 && !warp.groups.empty()) {
    const auto other = std::find_if(warp.groups.begin(), warp.groups.end(),
                                    [](const Group& g) { return g.wait == Wait::none; });
    if (other != warp.groups.end()) {
      const Group turn = *other;
      warp.groups.erase(other);
      warp.groups.push_back({warp.pc, warp.active, Wait::none, 0});
      warp.pc = turn.pc;
      warp.active = turn.mask;
      warp.favours_running = true;
      update_merge_pc(warp);
    }
  }
  return warp.executed - start;
}

}  // namespace kernelites::worker::vgpu
