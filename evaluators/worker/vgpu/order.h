// SPDX-License-Identifier: Apache-2.0
// What happened before what: stamps of accesses, and what each warp knows of the others' (happens-before, by warp).
//
// Every block has a counter of stamps. An access carries the stamp of its moment, its warp's number in the grid is its
// unit. A later access of another unit is ordered behind it if the stamp is not above what the accessing warp knows of
// that unit. Knowledge grows at barriers and by reading, with an atomic or a volatile, relaxed or acquiring load, a
// location to which the other side published with such an operation. A release publishes all that its warp knows; a
// relaxed operation publishes what the warp knew at its last fence (the pattern store, __threadfence, atomicAdd). No
// fence is asked for on the reading side as such: what the read decides cannot overtake it. But a weak load may be
// answered by a line that the first-level cache got before the other side's store; so each block also remembers what
// it may have cached since its last fence (global_race.h).
//
// A barrier of the whole block raises the block's floor instead: one store, and all that most kernels ever need.
#pragma once

#include <array>
#include <memory>
#include <unordered_map>
#include <vector>

#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

/// Stamps by unit. Copies share what they have in common.
class Clock {
 public:
  u32 at(u32 unit) const;
  /// Raises the stamp of a unit to at least `stamp`.
  void raise(u32 unit, u32 stamp);
  void join(const Clock& other);
  bool is_empty() const { return pieces_.empty(); }
  void clear() { pieces_.clear(); }

 private:
  static constexpr u32 k_piece_units = 128;
  using Piece = std::array<u32, k_piece_units>;
  Piece& own_piece(std::size_t index);

  std::vector<std::shared_ptr<Piece>> pieces_;  ///< null: all zero
};

/// How an access takes part in ordering. The decoder puts the bits into Instruction::flags of memory instructions.
inline constexpr u8 k_strong_access = 4;    ///< volatile, relaxed or stronger: two of them are no race
inline constexpr u8 k_acquire_access = 8;   ///< learns what was published at its location
inline constexpr u8 k_release_access = 16;  ///< publishes without a fence
inline constexpr u8 k_block_access = 32;    ///< strong within the block only (.cta)
inline constexpr u8 k_uncached_access =
    64;  ///< a weak load that passes the first-level cache by (cp.async.cg)
inline constexpr u8 k_constant_access = 2;  ///< of a load: of what no launch writes (ld.global.nc, ldu)

/// What has been published at one location.
struct Published {
  Clock everywhere;  ///< for the whole grid
  u64 block = ~u64{0};
  Clock in_block;  ///< for warps of `block`: a fence of block scope is enough
};

/// Locations that strong accesses have touched, by address.
using Publications = std::unordered_map<u64, Published>;

/// The order of one block's accesses.
class BlockOrder {
 public:
  static constexpr u32 k_barriers = 16;

  /// What someone knew who arrived somewhere, for those who wait there.
  struct Gate {
    Clock known, fenced, block_fenced;
    Clock proxied;   ///< what the asynchronous proxy may rely on
    Clock finished;  ///< units up to here have got what they read; what they wrote need not be visible
    void join(const Gate& other);
    bool is_empty() const;
  };
  /// How much of what a warp did its arrival at an mbarrier hands on. `in_block`, `in_cluster`: what its fences of
  /// that scope have covered. `reads`: that too, and that its reads are done.
  enum class Release : u8 { everything, in_block, in_cluster, reads };

  /// Starts block number `block` with its warps as units first_unit, first_unit + 1, ...
  /// `tracks`: keep knowledge by warp; false where only barriers of the whole block can order anything.
  void start(u64 block, u32 warps, u32 first_unit, bool tracks);

  /// Stamp of an access that happens now; never 0.
  u32 now() const { return now_; }
  /// Accesses of this block up to this stamp are ordered before everything from now on.
  u32 floor() const { return floor_; }
  u64 block() const { return block_; }
  u32 unit(u32 warp) const { return first_unit_ + warp; }
  /// What the warp knows of a unit of another block; 0: nothing, or knowledge is not kept.
  u32 known_of(u32 warp, u32 other_unit) const { return tracks_ ? known_[warp].at(other_unit) : 0; }
  bool tracks() const { return tracks_; }
  u32 warps() const { return static_cast<u32>(synced_.size()); }
  /// Is what `other` (a warp of this block) did at `stamp` ordered before what `warp` does now?
  bool knows_warp(u32 warp, u32 other, u32 stamp) const {
    return stamp <= floor_ || warp == other || (tracks_ && known_[warp].at(first_unit_ + other) >= stamp);
  }
  /// The same for any unit of the grid.
  bool knows_unit(u32 warp, u32 unit, u32 stamp) const {
    const u32 other = unit - first_unit_;
    if (other < warps()) return knows_warp(warp, other, stamp);
    return tracks_ && known_[warp].at(unit) >= stamp;
  }

  /// The lanes of a warp met (shuffle, vote, __syncwarp): what they did so far is ordered among them.
  void sync_lanes(u32 warp) {
    if (!touched_[warp]) return;
    synced_[warp] = now_++;
    touched_[warp] = 0;
  }
  /// Accesses of the warp itself up to this stamp are ordered for all its lanes.
  u32 synced(u32 warp) const { return synced_[warp]; }
  /// The warp wrote shared memory: its next sync_lanes matters.
  void touch(u32 warp) { touched_[warp] = 1; }

  /// The warp arrives: whoever acquires the gate is behind all that it did so far.
  void release(u32 warp, Gate& gate);
  /// The same of a part of that.
  void release(u32 warp, Gate& gate, Release part);
  void acquire(u32 warp, const Gate& gate);
  /// The warp has seen that the gate is open, by a relaxed read: its next fence acquires it.
  void acquire_at_fence(u32 warp, const Gate& gate);
  /// Has `unit` of another block finished the read that it made at `stamp`?
  bool has_finished(u32 warp, u32 unit, u32 stamp) const {
    return tracks_ && (known_[warp].at(unit) >= stamp || finished_[warp].at(unit) >= stamp);
  }
  void arrive(u32 warp, u32 barrier) { release(warp, gates_[barrier]); }
  /// All living threads of the block waited: everything before is ordered.
  void open_whole(u32 barrier);
  /// Opens for one of the waiting warps; `close` when all of them are through.
  void open_for(u32 warp, u32 barrier);
  void close(u32 barrier);
  void fence(u32 warp, bool is_block_scope);
  /// fence.proxy.async: what the warp knows now is ordered before what the asynchronous proxy does later for it, or for
  /// whoever is behind it.
  void fence_proxy(u32 warp);
  /// fence.mbarrier_init: what the warp knows now goes along with its relaxed arrivals at the cluster's barrier.
  void fence_init(u32 warp);
  /// The warp arrives at the cluster's barrier in a relaxed manner: whoever acquires the gate is behind what its fences
  /// have covered.
  void release_fenced(u32 warp, Gate& gate);
  /// May the asynchronous proxy, working for `warp`, rely on what `other` did at `stamp`?
  bool is_proxied(u32 warp, u32 other, u32 stamp) const {
    return is_unit_proxied(warp, first_unit_ + other, stamp);
  }
  bool is_unit_proxied(u32 warp, u32 unit, u32 stamp) const {
    return !tracks_ || proxied_[warp].at(unit) >= stamp;
  }
  /// Would a strong store with these flags publish anything?
  bool has_to_publish(u32 warp, u8 flags) const {
    return (flags & k_release_access) != 0 || !block_fenced_[warp].is_empty();
  }
  /// When the first-level cache may have got a 32-byte sector of global memory, since the last fence of the block at
  /// large: the time that note_cached was told; 0: never.
  u64 cached_at(u64 sector) const {
    const auto found = cached_.find(sector);
    return found == cached_.end() ? 0 : found->second;
  }
  void note_cached(u64 sector, u64 time) {
    if (cached_.size() < k_max_cached) cached_.try_emplace(sector, time);
  }
  /// A strong access at a location, as `flags` say. `is_update`: it reads and writes at
  /// once. REQUIRES: tracks().
  void access(u32 warp, u8 flags, bool is_load, bool is_update, Published& at);

 private:
  static constexpr std::size_t k_max_cached = std::size_t{1} << 16;
  Clock snapshot(u32 warp) const;

  u64 block_ = 0;
  u32 now_ = 1, floor_ = 0, first_unit_ = 0;
  bool tracks_ = false;
  std::vector<u32> synced_;
  std::vector<u8> touched_;
  std::vector<Clock> known_, fenced_, block_fenced_;  ///< by warp; the fenced ones as of its last fence
  std::vector<Clock> proxied_;                        ///< by warp, as of its last fence.proxy.async
  std::vector<Clock> initialised_;                    ///< by warp, as of its last fence.mbarrier_init
  std::vector<Clock> finished_;                       ///< by warp: Gate::finished
  std::vector<Gate> seen_;                            ///< by warp: of relaxed reads since its last fence
  std::array<Gate, k_barriers> gates_;
  std::unordered_map<u64, u64> cached_;
};

}  // namespace kernelites::worker::vgpu
