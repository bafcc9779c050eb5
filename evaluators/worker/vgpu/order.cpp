// SPDX-License-Identifier: Apache-2.0
// Clocks, and how barriers, fences and strong accesses spread them.
#include "evaluators/worker/vgpu/order.h"

#include <algorithm>
#include <utility>

namespace kernelites::worker::vgpu {

u32 Clock::at(u32 unit) const {
  const std::size_t index = unit / k_piece_units;
  return index < pieces_.size() && pieces_[index] ? (*pieces_[index])[unit % k_piece_units] : 0;
}

Clock::Piece& Clock::own_piece(std::size_t index) {
  if (pieces_.size() <= index) pieces_.resize(index + 1);
  auto& piece = pieces_[index];
  if (!piece)
    piece = std::make_shared<Piece>(Piece{});
  else if (piece.use_count() > 1)
    piece = std::make_shared<Piece>(*piece);
  return *piece;
}

void Clock::raise(u32 unit, u32 stamp) {
  if (at(unit) < stamp) own_piece(unit / k_piece_units)[unit % k_piece_units] = stamp;
}

void Clock::join(const Clock& other) {
  if (pieces_.size() < other.pieces_.size()) pieces_.resize(other.pieces_.size());
  for (std::size_t k = 0; k < other.pieces_.size(); ++k) {
    const auto& theirs = other.pieces_[k];
    if (!theirs || theirs == pieces_[k]) continue;
    if (!pieces_[k]) {
      pieces_[k] = theirs;
      continue;
    }
    bool has_more = false, has_less = false;
    for (u32 u = 0; u < k_piece_units; ++u) {
      has_more |= (*theirs)[u] > (*pieces_[k])[u];
      has_less |= (*theirs)[u] < (*pieces_[k])[u];
    }
    if (!has_more) continue;
    if (!has_less) {
      pieces_[k] = theirs;
      continue;
    }
    Piece& mine = own_piece(k);
    for (u32 u = 0; u < k_piece_units; ++u) mine[u] = std::max(mine[u], (*theirs)[u]);
  }
}

void BlockOrder::start(u64 block, u32 warps, u32 first_unit, bool tracks) {
  block_ = block;
  first_unit_ = first_unit;
  tracks_ = tracks;
  now_ = 1;
  floor_ = 0;
  cached_.clear();
  synced_.assign(warps, 0);
  touched_.assign(warps, 0);
  if (!tracks) return;
  known_.assign(warps, {});
  fenced_.assign(warps, {});
  block_fenced_.assign(warps, {});
  proxied_.assign(warps, {});
  initialised_.assign(warps, {});
  finished_.assign(warps, {});
  seen_.assign(warps, {});
  for (Gate& gate : gates_) gate = {};
}

/// All that a warp knows now, its own accesses and the block's floor included.
Clock BlockOrder::snapshot(u32 warp) const {
  Clock clock = known_[warp];
  for (u32 other = 0; floor_ != 0 && other < warps(); ++other) clock.raise(first_unit_ + other, floor_);
  clock.raise(first_unit_ + warp, now_);
  return clock;
}

void BlockOrder::Gate::join(const Gate& other) {
  known.join(other.known);
  fenced.join(other.fenced);
  block_fenced.join(other.block_fenced);
  proxied.join(other.proxied);
  finished.join(other.finished);
}

bool BlockOrder::Gate::is_empty() const {
  return known.is_empty() && fenced.is_empty() && block_fenced.is_empty() && proxied.is_empty() &&
         finished.is_empty();
}

void BlockOrder::release(u32 warp, Gate& gate) {
  sync_lanes(warp);
  if (!tracks_) return;
  gate.known.join(snapshot(warp));
  gate.fenced.join(fenced_[warp]);
  gate.block_fenced.join(block_fenced_[warp]);
  gate.proxied.join(proxied_[warp]);
  gate.finished.join(finished_[warp]);
  ++now_;  // what the warp does behind an arrive is not covered by it
}

void BlockOrder::release(u32 warp, Gate& gate, Release part) {
  if (part == Release::everything) return release(warp, gate);
  sync_lanes(warp);
  if (!tracks_) return;
  const Clock& covered = part == Release::in_block ? block_fenced_[warp] : fenced_[warp];
  gate.known.join(covered);
  gate.fenced.join(fenced_[warp]);
  gate.block_fenced.join(covered);
  gate.proxied.join(proxied_[warp]);
  if (part == Release::reads) gate.finished.join(snapshot(warp));
  ++now_;
}

void BlockOrder::acquire(u32 warp, const Gate& gate) {
  if (!tracks_) return;
  known_[warp].join(gate.known);
  fenced_[warp].join(gate.fenced);
  block_fenced_[warp].join(gate.block_fenced);
  proxied_[warp].join(gate.proxied);
  finished_[warp].join(gate.finished);
}

void BlockOrder::acquire_at_fence(u32 warp, const Gate& gate) {
  if (tracks_) seen_[warp].join(gate);
}

void BlockOrder::open_whole(u32 barrier) {
  floor_ = now_++;
  if (!tracks_) return;
  Gate& gate = gates_[barrier];
  // Warps that have exited count as arrived.
  for (u32 w = 0; w < warps(); ++w) {
    gate.known.join(known_[w]);
    gate.fenced.join(fenced_[w]);
    gate.block_fenced.join(block_fenced_[w]);
    gate.proxied.join(proxied_[w]);
    gate.finished.join(finished_[w]);
  }
  for (u32 w = 0; w < warps(); ++w) open_for(w, barrier);
  close(barrier);
}

void BlockOrder::open_for(u32 warp, u32 barrier) { acquire(warp, gates_[barrier]); }

void BlockOrder::close(u32 barrier) { gates_[barrier] = {}; }

void BlockOrder::fence(u32 warp, bool is_block_scope) {
  if (!tracks_) return;
  if (!seen_[warp].is_empty()) acquire(warp, std::exchange(seen_[warp], {}));
  block_fenced_[warp] = snapshot(warp);
  if (!is_block_scope) {
    fenced_[warp] = block_fenced_[warp];
    cached_.clear();
  }
  ++now_;
}

void BlockOrder::fence_proxy(u32 warp) {
  if (!tracks_) return;
  proxied_[warp] = snapshot(warp);
  ++now_;
}

void BlockOrder::fence_init(u32 warp) {
  if (!tracks_) return;
  initialised_[warp] = snapshot(warp);
  ++now_;
}

void BlockOrder::release_fenced(u32 warp, Gate& gate) {
  sync_lanes(warp);
  if (!tracks_) return;
  gate.known.join(fenced_[warp]);
  gate.known.join(initialised_[warp]);
  gate.fenced.join(fenced_[warp]);
  gate.block_fenced.join(fenced_[warp]);
  gate.proxied.join(proxied_[warp]);
  gate.finished.join(finished_[warp]);
}

void BlockOrder::access(u32 warp, u8 flags, bool is_load, bool is_update, Published& at) {
  if (!tracks_) return;
  const bool is_local = (flags & k_block_access) != 0;
  if (is_load || is_update) {
    if ((flags & k_acquire_access) != 0 && !is_local) cached_.clear();
    known_[warp].join(at.everywhere);
    // What was published to the grid has been performed for all of it, so that this warp's releases carry it on.
    fenced_[warp].join(at.everywhere);
    block_fenced_[warp].join(at.everywhere);
    if (at.block == block_) {
      known_[warp].join(at.in_block);
      block_fenced_[warp].join(at.in_block);
    }
    if (!is_update) return;
  } else {
    at.everywhere.clear();
    at.in_block.clear();
  }
  if (at.block != block_) at.in_block.clear();
  at.block = block_;
  const bool is_release = (flags & k_release_access) != 0;
  const Clock all = is_release ? snapshot(warp) : Clock{};
  at.in_block.join(is_release ? all : block_fenced_[warp]);
  if (!is_local) at.everywhere.join(is_release ? all : fenced_[warp]);
  if (is_release) ++now_;
}

}  // namespace kernelites::worker::vgpu
