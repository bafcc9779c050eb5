// SPDX-License-Identifier: Apache-2.0
// A block: its memory, its barriers, and turns for its warps.
#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/special.h"
#include "evaluators/worker/vgpu/warp.h"

namespace kernelites::worker::vgpu {
namespace {

constexpr u64 k_quantum = 1u << 14;  ///< instructions of a warp's turn, in order
constexpr u64 k_patience_with_groups = 64;
constexpr u8 k_poison = 0xff;  ///< unwritten shared memory: NaN in every float format

u32 word_of(const Warp& warp, u32 offset, u32 lane) {
  u32 value;
  std::memcpy(&value, warp.registers + offset + 4 * lane, sizeof value);
  return value;
}

u64 next_random(u64& state) {  // splitmix64
  state += 0x9e3779b97f4a7c15ull;
  u64 z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

u32 alive_lanes(const Block& block) {
  return std::accumulate(block.warps.begin(), block.warps.end(), 0u,
                         [](u32 sum, const Warp& warp) { return sum + lane_count(warp.alive); });
}

/// Writes the result of a bar.red to the lanes that waited for it.
void write_reduction(Warp& warp, const Group& group, const Barrier& barrier) {
  const Instruction& i = warp.context->image->code[group.pc - 1];
  const BarrierMode mode = static_cast<BarrierMode>(i.mode);
  if (mode == BarrierMode::count) {
    for (Mask rest = group.mask; rest != 0; rest &= rest - 1) {
      std::memcpy(warp.registers + i.d + 4 * lowest_lane(rest), &barrier.votes, 4);
    }
  } else if (mode == BarrierMode::all || mode == BarrierMode::any) {
    const bool holds = mode == BarrierMode::all ? barrier.votes == barrier.voters : barrier.votes != 0;
    Mask predicate;
    std::memcpy(&predicate, warp.registers + i.d, sizeof predicate);
    predicate = holds ? predicate | group.mask : predicate & ~group.mask;
    std::memcpy(warp.registers + i.d, &predicate, sizeof predicate);
  }
}

/// Lets the groups that wait at a barrier go on, and orders what they did before it.
void open(Block& block, u32 id, u32 alive) {
  const Barrier barrier = block.barriers[id];
  u32 waiting = 0;
  for (Warp& warp : block.warps) {
    for (Group& group : warp.groups) {
      if (group.wait != Wait::barrier || group.barrier != id) continue;
      write_reduction(warp, group, barrier);
      group.wait = Wait::none;
      waiting += lane_count(group.mask);
      block.order.open_for(warp.index, id);
      if (block.early_read && block.early_read->raised.warp == static_cast<int>(warp.index)) {
        throw block.early_read->raised;
      }
    }
  }
  // Threads that have exited count as arrived at a barrier of the whole block, not at one with a thread count.
  const bool is_of_all = barrier.expected == 0 || barrier.expected >= block.context->threads_per_block;
  if (is_of_all && waiting == alive && !barrier.has_arrivals)
    block.order.open_whole(id);
  else
    block.order.close(id);
  block.barriers[id] = {};
  // Other blocks shall run before this one publishes anything: what they do by then is not ordered behind it.
  block.gives_way = block.context->launch->cooperative;
  if (LaunchState* const state = block.context->state; state != nullptr) ++state->changes;
}

}  // namespace

void arrive_at_barrier(Warp& warp, const Instruction& i, Mask mask) {
  const u32 lane = lowest_lane(mask);
  const u32 id = word_of(warp, i.a, lane), expected = word_of(warp, i.b, lane);
  if (id >= k_barriers)
    raise(FaultKind::divergent_barrier, lane, fmt::format("barrier {} does not exist: there are 16", id));
  if (expected % k_lanes != 0) {
    raise(FaultKind::divergent_barrier, lane,
          fmt::format("barrier {} expects {} threads, which is no multiple of 32", id, expected));
  }
  Barrier& barrier = warp.block->barriers[id];
  if (barrier.arrived != 0 && barrier.expected != expected) {
    raise(
        FaultKind::divergent_barrier, lane,
        fmt::format("barrier {} is used for {} and for {} threads at once", id, barrier.expected, expected));
  }
  barrier.expected = expected;
  // A barrier with a thread count counts whole warps, also the one that the block's size leaves incomplete.
  const bool counts_warps = expected != 0 && (mask & warp.alive) == warp.alive;
  barrier.arrived += counts_warps ? k_lanes : lane_count(mask);
  warp.block->order.arrive(warp.index, id);
  const BarrierMode mode = static_cast<BarrierMode>(i.mode);
  if (mode >= BarrierMode::count) {
    Mask votes;
    std::memcpy(&votes, warp.registers + i.c, sizeof votes);
    votes = (i.extra != 0 ? ~votes : votes) & mask;
    barrier.votes += lane_count(votes);
    barrier.voters += lane_count(mask);
  }
  if (mode == BarrierMode::arrive) {
    barrier.has_arrivals = true;
    if (expected != 0 && barrier.arrived >= expected) open(*warp.block, id, alive_lanes(*warp.block));
    ++warp.pc;
    return;
  }
  warp.groups.push_back({warp.pc + 1, mask, Wait::barrier, static_cast<u8>(id)});
  warp.active &= ~mask;
  // A thread count is a promise that these threads are all: whoever comes later takes part in the next round.
  if (expected != 0 && barrier.arrived >= expected) open(*warp.block, id, alive_lanes(*warp.block));
  if (warp.active != 0)
    ++warp.pc;
  else
    pick_group(warp);
}

bool open_barriers(Block& block) {
  bool any = false;
  u32 alive = 0;
  for (u32 id = 0; id < k_barriers; ++id) {
    const Barrier& barrier = block.barriers[id];
    if (barrier.arrived == 0) continue;
    if (alive == 0) alive = alive_lanes(block);
    if (barrier.arrived < (barrier.expected != 0 ? barrier.expected : alive)) continue;
    open(block, id, alive);
    any = true;
  }
  return any;
}

namespace {

/// "; warp 3 waits at ..." for up to `limit` warps at barriers and mbarriers. The first one becomes the culprit.
std::string waits_of(const Block& block, u32 limit, const Warp*& culprit, u32& lane) {
  std::string text;
  u32 named = 0;
  for (const Warp& warp : block.warps) {
    for (const Group& group : warp.groups) {
      if (group.wait != Wait::barrier) continue;
      if (culprit == nullptr) culprit = &warp, lane = lowest_lane(group.mask);
      if (++named > limit) continue;
      const Barrier& barrier = block.barriers[group.barrier];
      text += fmt::format("; warp {} waits at barrier {} (line {}), where {} of {} threads have arrived",
                          warp.index, group.barrier, block.context->image->code[group.pc - 1].line,
                          barrier.arrived, barrier.expected != 0 ? barrier.expected : alive_lanes(block));
    }
  }
  for (const Warp& warp : block.warps) {
    if (culprit == nullptr && !warp.is_done) culprit = &warp, lane = lowest_lane(warp.alive);
  }
  return text + mbarrier_waits(block, named < limit ? limit - named : 0);
}

}  // namespace

void report_deadlock(const Block& block, const Warp*& culprit) {
  constexpr u32 k_named = 6;
  u32 lane = 0;
  culprit = nullptr;
  if (block.cluster == nullptr || block.cluster->blocks.size() == 1) {
    const std::string waits = waits_of(block, k_named, culprit, lane);
    raise(FaultKind::deadlock, lane, "deadlock: no thread of the block can go on" + waits);
  }
  std::string text = "deadlock: no thread of the cluster can go on";
  const Block* first = nullptr;
  for (const Block* other : block.cluster->blocks) {
    if (other->is_done) {
      text += fmt::format("; block {} of the cluster has ended", other->rank);
      continue;
    }
    text += fmt::format("; block {} of the cluster", other->rank) + waits_of(*other, 3, culprit, lane);
    if (first == nullptr) first = other;
  }
  throw Raised{.kind = FaultKind::deadlock,
               .message = text,
               .lane = lane,
               .warp = static_cast<int>(culprit->index),
               .pc = culprit->pc,
               .block = first};
}

void report_spinning(const Block& block, const Warp*& culprit, bool has_more_blocks) {
  u32 lane = 0;
  for (const Warp& warp : block.warps) {
    if (culprit == nullptr && can_run(warp)) culprit = &warp;
  }
  if (culprit != nullptr) lane = lowest_lane(culprit->active != 0 ? culprit->active : culprit->alive);
  raise(FaultKind::deadlock, lane,
        fmt::format(
            "deadlock: every running block waits for a value in memory that nothing changes any more{}",
            has_more_blocks ? "; blocks that have not started cannot help, because the running ones fill the "
                              "device: only a cooperative launch has all blocks running at once"
                            : ""));
}

void allocate_block(Block& block, const LaunchContext& context, Tally& tally) {
  const KernelImage& image = *context.image;
  block.context = &context;
  block.warps.resize(context.warps_per_block);
  block.shared.resize(context.shared_bytes + 64);
  block.shared_state.resize(context.shared_bytes + 64);
  const std::size_t arena = (image.arena_bytes + 63u) / 64 * 64;
  block.arena = std::make_unique<u8[]>(arena * context.warps_per_block + 64);
  u8* base = block.arena.get();
  base += (64 - reinterpret_cast<std::uintptr_t>(base) % 64) % 64;
  const std::size_t local = std::size_t{image.local_bytes} * k_lanes;
  block.local.resize(local * context.warps_per_block + 256);
  block.local_state.resize(block.local.size());
  for (u32 k = 0; k < context.warps_per_block; ++k) {
    Warp& warp = block.warps[k];
    warp.registers = base + arena * k;
    warp.local = block.local.data() + local * k;
    warp.local_state = block.local_state.data() + local * k;
    warp.block = &block;
    warp.context = &context;
    warp.steps = &tally;
    warp.tally = context.options.collect_counts ? &tally : nullptr;
    warp.index = k;
    if (!image.constants.empty()) {
      std::memcpy(warp.registers + image.constant_offset, image.constants.data(), image.constants.size());
    }
  }
}

void start_block(Block& block, u64 index) {
  const LaunchContext& context = *block.context;
  const KernelImage& image = *context.image;
  const Dim3 grid = context.launch->grid;
  block.index = index;
  block.id = {static_cast<u32>(index % grid.x), static_cast<u32>(index / grid.x % grid.y),
              static_cast<u32>(index / (u64{grid.x} * grid.y))};
  block.is_done = block.gives_way = false;
  block.barriers = {};
  block.early_read.reset();
  const u64 seed = context.options.schedule_seed;
  block.random = seed == 0 ? 0 : (seed ^ (index * 0x9e3779b97f4a7c15ull)) | 1;
  std::memset(block.shared.data(), k_poison, block.shared.size());
  std::memset(block.shared_state.data(), k_unwritten, block.shared_state.size());
  std::memset(block.local_state.data(), k_unwritten, block.local_state.size());
  std::memset(block.local.data(), k_poison, block.local.size());
  block.overwrite.reset();
  block.published.clear();
  block.pending_copies = 0;
  block.mbarriers.clear();
  block.bulk_copies.clear();
  block.late_arrivals.clear();
  block.reading.clear();
  block.operations = block.uncomputed_products = 0;
  block.remote.start(static_cast<u32>(__builtin_ctz(image.shared_granule)));
  block.early_remote.reset();
  block.met.clear();
  block.stuck_at = 0;
  block.warpgroups.assign((context.warps_per_block + k_warpgroup - 1) / k_warpgroup, {});
  block.timeouts = block.spare_registers = 0;
  const bool checks_races = context.options.checks.races;
  const bool checks_global = context.state != nullptr && context.state->races;
  const u64 number = checks_global ? index : block.rank;
  const u32 first_unit = static_cast<u32>(number * context.warps_per_block);
  block.order.start(index, context.warps_per_block, first_unit, checks_races && image.tracks_order);
  block.races.start(block.order, context.shared_bytes, image.shared_granule, checks_races);
  if (context.state != nullptr) ++context.state->changes;
  for (Warp& warp : block.warps) {
    const u32 threads = std::min(k_lanes, context.threads_per_block - warp.index * k_lanes);
    // Registers that the code never sets are rubbish, as on a device.
    std::memset(warp.registers + image.predicate_offset, k_poison,
                image.constant_offset - image.predicate_offset);
    std::memset(warp.registers + image.predicate_offset, 0, k_fixed_predicates_bytes);
    std::memset(warp.registers + image.predicate_offset, 0xff, 4);  // the always-true predicate
    warp.pc = image.entry;
    warp.alive = warp.existing = warp.active = threads == k_lanes ? k_all_lanes : (Mask{1} << threads) - 1;
    warp.merge_pc = ~0u;
    warp.groups.clear();
    warp.copies.clear();
    warp.copy_group = {};
    warp.bulk_group = {};
    warp.wgmma = {};
    warp.registers_each = image.entry_registers;
    warp.failed_tests = 0;
    warp.has_timed_out = false;
    warp.cluster_arrived = warp.cluster_passed = 0;
    warp.depth = {};
    warp.stack_top = {};
    for (std::vector<u8>& saved : warp.saved) saved.clear();
    warp.executed = 0;
    warp.poll = {};
    warp.favours_running = warp.is_done = false;
    fill_specials(warp, block);
  }
}

bool is_waiting(const Warp& warp, u64 polls) {
  if (!can_run(warp)) return true;
  const LaunchState* const state = warp.context->state;
  if (state == nullptr || warp.poll.changes != state->changes) return false;
  // Where lanes of a warp are apart, some may compute while others poll.
  const bool has_others = std::any_of(warp.groups.begin(), warp.groups.end(),
                                      [](const Group& group) { return group.wait == Wait::none; });
  return warp.poll.count >= (has_others ? polls * k_patience_with_groups : polls);
}

bool is_waiting(const Block& block, u64 polls) {
  return std::all_of(block.warps.begin(), block.warps.end(),
                     [polls](const Warp& warp) { return is_waiting(warp, polls); });
}

bool is_polling(const Block& block, u64 polls) {
  if (block.is_done || (block.cluster != nullptr && block.stuck_at == block.cluster->changes)) return true;
  return block.bulk_copies.empty() && block.late_arrivals.empty() &&
         std::any_of(block.warps.begin(), block.warps.end(),
                     [](const Warp& warp) { return can_run(warp); }) &&
         is_waiting(block, polls);
}

u64 run_block(Block& block, u64 limit, const Warp*& culprit) {
  u64 total = 0;
  const std::size_t count = block.warps.size();
  while (total < limit) {
    bool is_progress = false;
    const std::size_t first = block.random != 0 ? next_random(block.random) % count : 0;
    const bool is_backward = block.random != 0 && (next_random(block.random) & 1) != 0;
    for (std::size_t k = 0; k < count; ++k) {
      Warp& warp = block.warps[(first + (is_backward ? count - k : k)) % count];
      if (!can_run(warp)) continue;
      culprit = &warp;
      const u64 quantum = block.random != 0 ? 1 + next_random(block.random) % 256 : k_quantum;
      total += run_warp(warp, quantum);
      is_progress = true;
    }
    culprit = nullptr;
    if (std::all_of(block.warps.begin(), block.warps.end(), [](const Warp& warp) { return warp.is_done; })) {
      if (block.early_read) throw block.early_read->raised;
      settle_copies(block);
      if (block.cluster != nullptr) settle_remote(block);
      block.is_done = true;
      note_cluster_change(block);
      if (block.context->state != nullptr) ++block.context->state->changes;
      return total;
    }
    const bool has_luck = block.random != 0 && (!block.bulk_copies.empty() || !block.late_arrivals.empty()) &&
                          next_random(block.random) % 4 == 0;
    if (has_luck) advance_copies(block, next_random(block.random));
    if (block.random != 0 && block.uncomputed_products != 0 && next_random(block.random) % 4 == 0)
      advance_products(block, next_random(block.random));
    const bool has_met = block.cluster != nullptr && open_cluster_barrier(*block.cluster);
    if (!open_barriers(block) && !has_met && !is_progress && !has_luck) {
      const u64 draw = block.random != 0 ? next_random(block.random) : 0;
      const bool is_stuck = !advance_copies(block, draw) && !time_out_waits(block);
      if (is_stuck && block.cluster == nullptr) report_deadlock(block, culprit);
      if (is_stuck) {
        block.stuck_at = block.cluster->changes;
        if (is_cluster_stuck(block)) report_deadlock(block, culprit);
        return total;  // another block of the cluster must act first
      }
    }
    if (std::exchange(block.gives_way, false)) return total;
    const bool can_go_on =
        std::any_of(block.warps.begin(), block.warps.end(), [](const Warp& warp) { return can_run(warp); });
    if (can_go_on && is_waiting(block, k_polls_before_yield)) {
      if (!advance_copies(block, 0)) return total;  // other blocks must act first
    }
  }
  return total;
}

}  // namespace kernelites::worker::vgpu
