// SPDX-License-Identifier: Apache-2.0
// The barrier of a cluster, and who is there when shared memory of another block is touched.
#include "evaluators/worker/vgpu/cluster.h"

#include <algorithm>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/warp.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {

void RemoteAccesses::start(u32 shift) {
  shift_ = shift;
  writes_.clear();
  reads_.clear();
  latest_.clear();
}

void RemoteAccesses::note(u32 begin, u32 bytes, u32 shared_bytes, bool is_write, const RemoteAccess& access) {
  if (writes_.empty()) writes_.resize((shared_bytes >> shift_) + 16);
  latest_[access.unit] = access;
  for (u32 g = begin >> shift_; g << shift_ < begin + bytes; ++g) {
    if (is_write) {
      writes_[g] = access;
      continue;
    }
    if (access.is_strong) continue;
    std::vector<RemoteAccess>& reads = reads_[g];
    const auto same = std::find_if(reads.begin(), reads.end(),
                                   [&](const RemoteAccess& read) { return read.unit == access.unit; });
    if (same != reads.end())
      *same = access;
    else
      reads.push_back(access);
  }
}

Block& block_of_address(Warp& warp, u32 address, u32 lane) {
  const u32 number = address >> k_peer_shift;
  Cluster* const cluster = warp.block->cluster;
  if (number == 0 || cluster == nullptr) return *warp.block;
  if (number <= cluster->blocks.size()) return *cluster->blocks[number - 1];
  raise(FaultKind::out_of_bounds, lane,
        fmt::format("an address in the shared memory of block {} of a cluster of {}", number - 1,
                    cluster->blocks.size()));
}

void require_peer(Warp& warp, const Block& target, u32 lane) {
  const Block& own = *warp.block;
  if (&target == &own) return;
  if (target.is_done) {
    raise(FaultKind::cluster_peer_absent, lane,
          fmt::format("the shared memory of block {} of the cluster is touched after that block has ended: "
                      "it must wait "
                      "for the others (barrier.cluster) before it returns",
                      target.rank));
  }
  if (!own.order.tracks()) return;
  for (u32 w = 0; w < warp.context->warps_per_block; ++w) {
    const u32 unit = target.order.unit(w);
    if (own.order.known_of(warp.index, unit) != 0 || own.met.at(unit) != 0) return;
  }
  raise(FaultKind::cluster_peer_absent, lane,
        fmt::format("the shared memory of block {} of the cluster is touched before anything says that this "
                    "block has begun: "
                    "a barrier.cluster (cluster.sync()) is missing before the first such access",
                    target.rank));
}

void note_remote(Warp& warp, Block& target, u32 lane, u32 begin, u32 bytes, bool is_write, bool is_strong) {
  if (!warp.block->order.tracks()) return;
  target.remote.note(begin, bytes, warp.context->shared_bytes, is_write,
                     {.unit = warp.block->order.unit(warp.index),
                      .stamp = warp.block->order.now(),
                      .pc = warp.pc,
                      .rank = static_cast<u16>(warp.block->rank),
                      .warp = static_cast<u8>(warp.index),
                      .lane = static_cast<u8>(lane),
                      .is_strong = is_strong,
                      .is_read = !is_write});
}

namespace {

void arrive(Warp& warp, const Instruction& i, Mask mask) {
  Block& block = *warp.block;
  const Mask twice = mask & (warp.cluster_arrived | warp.cluster_passed);
  if (twice != 0) {
    raise(FaultKind::barrier_misuse, lowest_lane(twice),
          "a thread arrives at the cluster's barrier a second time without a barrier.cluster.wait between");
  }
  Cluster& cluster = *block.cluster;
  const u32 now = block.order.now();
  if (i.mode == k_cluster_arrive)
    block.order.release(warp.index, cluster.coming);
  else
    block.order.release_fenced(warp.index, cluster.coming);
  cluster.coming_units.raise(block.order.unit(warp.index), now);
  warp.cluster_arrived |= mask;
  ++warp.pc;
}

/// What the warp has read of unwritten memory before the barrier is uninitialised for good.
void throw_early_reads(const Warp& warp) {
  for (const Block* block : warp.block->cluster->blocks) {
    for (const std::optional<EarlyRead>* early : {&block->early_read, &block->early_remote}) {
      if (*early && (*early)->raised.block == warp.block &&
          (*early)->raised.warp == static_cast<int>(warp.index))
        throw(*early)->raised;
    }
  }
}

}  // namespace

void meet_cluster(Warp& warp, const Instruction& i, Mask mask) {
  if (i.mode != k_cluster_wait) return arrive(warp, i, mask);
  Block& block = *warp.block;
  const Mask stray = mask & ~(warp.cluster_arrived | warp.cluster_passed);
  if (stray != 0) {
    raise(FaultKind::barrier_misuse, lowest_lane(stray),
          "a thread waits at the cluster's barrier without having arrived there (barrier.cluster.arrive)");
  }
  if ((mask & warp.cluster_arrived) == 0) {
    warp.cluster_passed &= ~mask;
    block.order.sync_lanes(warp.index);
    block.order.acquire(warp.index, block.cluster->past);
    block.met.join(block.cluster->past_units);
    throw_early_reads(warp);
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

bool open_cluster_barrier(Cluster& cluster) {
  bool any = false;
  for (const Block* block : cluster.blocks) {
    for (const Warp& warp : block->warps) {
      if ((warp.alive & ~warp.cluster_arrived) != 0) return false;
      any |= (warp.alive & warp.cluster_arrived) != 0;
    }
  }
  if (!any) return false;
  for (Block* block : cluster.blocks) {
    for (Warp& warp : block->warps) {
      warp.cluster_passed |= warp.cluster_arrived;
      warp.cluster_arrived = 0;
    }
    wake(*block);
  }
  cluster.past = std::exchange(cluster.coming, {});
  cluster.past_units.join(std::exchange(cluster.coming_units, {}));
  if (LaunchState* const state = cluster.blocks[0]->context->state; state != nullptr) ++state->changes;
  return true;
}

std::string cluster_barrier_text(const Block& block) {
  std::string text;
  for (const Block* other : block.cluster->blocks) {
    u32 missing = 0;
    for (const Warp& warp : other->warps) missing += lane_count(warp.alive & ~warp.cluster_arrived);
    if (missing != 0)
      text += fmt::format("{}{} threads of block {}", text.empty() ? "" : " and ", missing, other->rank);
  }
  return text + " have not arrived";
}

void settle_remote(const Block& block) {
  if (block.early_remote) throw block.early_remote->raised;
  for (const auto& [unit, access] : block.remote.latest()) {
    bool is_known = block.met.at(unit) >= access.stamp;
    for (u32 w = 0; w < block.warps.size(); ++w) is_known |= block.order.known_of(w, unit) >= access.stamp;
    if (is_known) continue;
    throw Raised{.kind = FaultKind::cluster_peer_absent,
                 .message = fmt::format(
                     "block {} of the cluster may have ended when its shared memory is touched here: before "
                     "it returns it must wait for those who use its memory (barrier.cluster)",
                     block.rank),
                 .lane = access.lane,
                 .warp = access.warp,
                 .pc = access.pc,
                 .block = block.cluster->blocks[access.rank]};
  }
}

void note_cluster_change(Block& block) {
  if (block.cluster != nullptr) ++block.cluster->changes;
}

bool is_cluster_stuck(const Block& block) {
  const Cluster& cluster = *block.cluster;
  return std::all_of(cluster.blocks.begin(), cluster.blocks.end(), [&](const Block* other) {
    return other->is_done || other->stuck_at == cluster.changes;
  });
}

}  // namespace kernelites::worker::vgpu
