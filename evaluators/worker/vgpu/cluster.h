// SPDX-License-Identifier: Apache-2.0
// Clusters: blocks that run together, meet at a barrier of their own and see each other's shared memory.
//
// The upper eight bits of an address of shared memory name a block: 0 the one that uses the address, r + 1 the one with
// rank r of its cluster (mapa makes such addresses). What other blocks do to a block's memory is kept beside what its
// own warps do (race.h): their knowledge of each other (order.h) spans the cluster. A block must be there when its
// memory is touched: it must be known to have begun, by the cluster's barrier or whatever else orders the two, and it
// must not end before it knows of the access.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "evaluators/worker/vgpu/order.h"
#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

struct Block;
struct Instruction;
struct Warp;

inline constexpr u32 k_peer_shift = 24;
inline constexpr u32 k_max_cluster = 16;

/// An access to a block's shared memory by a warp of another block.
struct RemoteAccess {
  u32 unit = 0, stamp = 0, pc = 0;
  u16 rank = 0;
  u8 warp = 0, lane = 0;
  bool is_strong = false, is_read = false;
};

/// All of them, by granule: the last write, and the last weak read of each unit.
class RemoteAccesses {
 public:
  /// Granules are of 1 << shift bytes.
  void start(u32 shift);
  bool is_empty() const { return latest_.empty(); }
  /// Notes an access to a block of `shared_bytes` bytes.
  void note(u32 begin, u32 bytes, u32 shared_bytes, bool is_write, const RemoteAccess& access);
  /// The first access to these bytes, a write or (`with_reads`) a read, that is_fine(access) does not accept; or null.
  template <class IsFine>
  const RemoteAccess* find_unordered(u32 begin, u32 bytes, bool with_reads, IsFine is_fine) const {
    for (u32 g = begin >> shift_; g << shift_ < begin + bytes && g < writes_.size(); ++g) {
      if (writes_[g].stamp != 0 && !is_fine(writes_[g])) return &writes_[g];
      const auto reads = with_reads ? reads_.find(g) : reads_.end();
      if (reads == reads_.end()) continue;
      for (const RemoteAccess& read : reads->second)
        if (!is_fine(read)) return &read;
    }
    return nullptr;
  }
  /// The latest access of each unit.
  const std::unordered_map<u32, RemoteAccess>& latest() const { return latest_; }

 private:
  u32 shift_ = 2;
  std::vector<RemoteAccess> writes_;  ///< by granule; stamp 0: none
  std::unordered_map<u32, std::vector<RemoteAccess>> reads_;
  std::unordered_map<u32, RemoteAccess> latest_;
};

/// What the blocks of a cluster share.
struct Cluster {
  std::vector<Block*> blocks;      ///< by rank
  u64 changes = 1;                 ///< of whatever a block that is stuck may wait for
  BlockOrder::Gate coming;         ///< what the arrivals at the barrier that is still closed knew
  BlockOrder::Gate past;           ///< the same of when it opened last
  Clock coming_units, past_units;  ///< how far each unit had come when it arrived
};

/// The block whose shared memory an address names. Throws Raised if the cluster has no such block.
Block& block_of_address(Warp& warp, u32 address, u32 lane);
/// Its offset there.
inline u32 peer_offset(u32 address) { return address & ((u32{1} << k_peer_shift) - 1); }
/// The address of the same place in the block with this rank.
inline u32 peer_address(u32 address, u32 rank) { return peer_offset(address) | (rank + 1) << k_peer_shift; }

/// Throws Raised unless the warp may touch the shared memory of `target`.
void require_peer(Warp& warp, const Block& target, u32 lane);
/// Notes an access of the warp to another block's shared memory, whether or not races are looked for there.
void note_remote(Warp& warp, Block& target, u32 lane, u32 begin, u32 bytes, bool is_write, bool is_strong);

/// barrier.cluster.arrive and .wait: goes on, or parks the lanes.
void meet_cluster(Warp& warp, const Instruction& i, Mask mask);
/// Opens the cluster's barrier if all its threads that have not exited have arrived; true if it did.
bool open_cluster_barrier(Cluster& cluster);
/// Threads that have not arrived, "; 32 threads of block 1 (they ...)" or the like.
std::string cluster_barrier_text(const Block& block);
/// The block has ended. Throws Raised for an access to its memory that it did not wait for.
void settle_remote(const Block& block);
/// Something changed that a block of the cluster may wait for.
void note_cluster_change(Block& block);
/// Can no block of this one's cluster go on?
bool is_cluster_stuck(const Block& block);

}  // namespace kernelites::worker::vgpu
