// SPDX-License-Identifier: Apache-2.0
// Races in global memory: two warps of the grid touch the same bytes, one of them writes, and nothing orders the two.
//
// FastTrack over granules (the least access width of the kernel): each has its last weak and its last strong writer and
// its last reader, and a short list of readers where several are not ordered among themselves. Order comes from
// order.h. Only what a kernel may write has a shadow, in pages made at the first touch, so that inputs cost nothing.
// Strong accesses (atomics, volatile, relaxed, acquire, release) never race with each other. One launch, one OS thread.
//
// A weak load that is ordered behind another block's store can still be wrong: if the block has loaded the sector
// weakly before that store, and no fence came since, its first-level cache may answer with the old bytes. What a launch
// has written is not to be read by loads that promise the opposite (ld.global.nc), however it is ordered.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "evaluators/worker/vgpu/memory.h"
#include "evaluators/worker/vgpu/order.h"

namespace kernelites::worker::vgpu {

/// One warp's access to a region: offsets[l] to offsets[l] + bytes for the lanes of `mask`.
struct GlobalAccess {
  const u32* offsets = nullptr;
  Mask mask = 0;
  u32 bytes = 4;
  bool is_uniform = false;
  bool is_load = false, is_update = false;  ///< neither: a store
  u8 flags = 0;                             ///< k_strong_access and others
  u32 warp = 0, pc = 0;                     ///< of its block
};

struct GlobalConflict {
  u32 lane = 0;
  u64 byte = 0;                ///< offset in the region
  bool is_with_write = false;  ///< the earlier access wrote
  bool is_strong = false;      ///< it was an atomic or a volatile access
  u32 other_unit = 0;          ///< ~0u: several
  bool is_in_block = false;    ///< the other one is of the same block
  bool is_stale = false;       ///< ordered, but the first-level cache may hold what was there before
  bool is_constant = false;    ///< read as what no launch writes, and written in this one
  u32 other_pc = ~0u;          ///< of a write; ~0u: unknown
};

/// At most one for each lane and kind.
using GlobalConflicts = std::vector<GlobalConflict>;

class GlobalRaces {
 public:
  /// `granule`: 1 to 16 bytes. `tracks`: the kernel can order its blocks (BlockOrder::tracks).
  GlobalRaces(u32 granule, bool tracks);

  /// Checks an access against those before it and records it; then spreads what it publishes and learns.
  GlobalConflicts access(const Region& region, const GlobalAccess& access, BlockOrder& order);
  /// False once a limit was reached: what follows is not checked.
  bool is_on() const { return is_on_; }

 private:
  static constexpr u32 k_page_shift = 11;
  struct Page {
    u64 writers[1u << k_page_shift], strong_writers[1u << k_page_shift], readers[1u << k_page_shift];
  };
  struct Shadow {
    std::vector<std::unique_ptr<Page>> pages;
  };
  struct ReaderList {
    static constexpr u32 k_most =
        8;  ///< beyond it the oldest is forgotten: a race may be missed, none invented
    u64 readers[k_most] = {};
    u32 next = 0;
  };

  /// When a 32-byte sector was last stored to, and when by another block than the one that did so last.
  struct Stored {
    u64 time = 0, block = ~u64{0}, time_of_others = 0;
  };

  Page* page(const Region& region, u32 granule);
  void check_lane(const Region& region, const GlobalAccess& access, const BlockOrder& order, u32 lane,
                  GlobalConflicts& found);
  void check_writer(u64 entry, const GlobalAccess& access, const BlockOrder& order, u32 lane, u64 byte,
                    GlobalConflicts& found) const;
  void check_reader(u64 entry, const GlobalAccess& access, const BlockOrder& order, u32 lane, u64 byte,
                    GlobalConflicts& found) const;
  bool is_ordered(u64 entry, const GlobalAccess& access, const BlockOrder& order) const;
  void add_reader(ReaderList& list, u64 mine, const GlobalAccess& access, const BlockOrder& order);
  void record_read(u64& reader, const GlobalAccess& access, const BlockOrder& order);
  bool is_stale(u64 sector, const BlockOrder& order) const;
  void check_stale(u64 writer, const Region& region, const GlobalAccess& access, const BlockOrder& order,
                   u32 lane, GlobalConflicts& found) const;
  void check_constant(u64 writer, const BlockOrder& order, u32 lane, u64 byte, GlobalConflicts& found) const;
  void note_sectors(const Region& region, const GlobalAccess& access, BlockOrder& order);
  void spread(const Region& region, const GlobalAccess& access, BlockOrder& order);

  u32 shift_;
  bool tracks_;
  bool is_on_ = true;
  std::size_t page_count_ = 0;
  std::vector<Shadow> shadows_;  ///< by Region::index
  std::vector<ReaderList> lists_;
  Publications published_;
  std::unordered_map<u64, Stored> stored_;  ///< by sector; only if blocks can be ordered
  u64 time_ = 0;                            ///< accesses so far
};

}  // namespace kernelites::worker::vgpu
