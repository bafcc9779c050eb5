// SPDX-License-Identifier: Apache-2.0
// Races in shared memory: two threads of a block touch the same bytes, one of them writes, and nothing orders the two.
//
// Every granule (the least access width of the kernel) remembers its last writing thread and its last reading warp,
// each with the stamp of that moment (order.h); a second reading warp turns the reader into "several". In blocks whose
// warps are ordered by more than barriers of the whole block (BlockOrder::tracks), every warp's last read is kept.
// Between warps, every pair is checked that has a write. Between lanes of one warp, what one lane writes and another
// one then reads or overwrites needs a __syncwarp or another operation that the lanes execute together; reads before
// writes do not, because lanes that are together read before a later instruction writes.
// Volatile accesses and atomics of different warps never race with each other, atomics not at all inside a warp.
#pragma once

#include <optional>
#include <vector>

#include "evaluators/worker/vgpu/order.h"
#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

/// The bytes that one instruction of a warp touches: offsets[l] to offsets[l] + bytes for the lanes of `mask`. All 32
/// offsets are valid; `is_contiguous` and `is_uniform` as in Access.
struct SharedAccess {
  const u32* offsets = nullptr;
  Mask mask = 0;
  u32 bytes = 4;
  bool is_contiguous = false, is_uniform = false;
  bool is_strong = false;  ///< volatile or atomic
  bool is_atomic = false;
  u32 warp = 0, pc = 0;
};

/// One access that conflicts with an earlier one.
struct SharedConflict {
  u32 lane = 0, byte = 0;
  bool is_with_write = false;          ///< the earlier one wrote; else it read
  u32 other_warp = 0, other_lane = 0;  ///< warp ~0u: several
  u32 other_pc = 0;                    ///< of a write
};

/// At most one with a write and one with a read of each lane, in lane order for each.
using SharedConflicts = std::vector<SharedConflict>;

/// The last write to a byte.
struct SharedWriter {
  u32 byte = 0, warp = 0, pc = 0;
};

class RaceDetector {
 public:
  /// Starts a block; nothing of the last one counts. Granules are 1 to 16 bytes. `order` must outlive the block.
  void start(const BlockOrder& order, u32 shared_bytes, u32 granule, bool is_on);
  bool is_on() const { return is_on_; }

  /// Checks an access against those before it, then records it.
  SharedConflicts read(const SharedAccess& access);
  SharedConflicts write(const SharedAccess& access);

  /// The first of these bytes whose last writer accepts(warp, stamp, pc) does not accept.
  template <class Accepts>
  std::optional<SharedWriter> find_writer(u32 begin, u32 bytes, Accepts accepts) const {
    for (u32 g = begin >> shift_; g << shift_ < begin + bytes; ++g) {
      const i64 stamp = i64{writers_[g] >> k_stamp_shift} - base_;
      if (stamp <= 0) continue;
      const u32 warp = writers_[g] & k_warp_mask;
      if (!accepts(warp, static_cast<u32>(stamp), lines_[g]))
        return SharedWriter{g << shift_, warp, lines_[g]};
    }
    return std::nullopt;
  }
  /// The first of these bytes that a warp has written, or (`with_reads`) read weakly, in a way that is_fine(warp,
  /// stamp, is_write, is_strong write) does not accept. Reads are known only where the order tracks.
  template <class IsFine>
  std::optional<SharedConflict> find_unordered(u32 begin, u32 bytes, bool with_reads, IsFine is_fine) const {
    for (u32 g = begin >> shift_; g << shift_ < begin + bytes; ++g) {
      const i64 stamp = i64{writers_[g] >> k_stamp_shift} - base_;
      const u32 writer = writers_[g] & k_warp_mask;
      const bool is_strong = (writers_[g] >> 10 & 1) != 0;
      if (stamp > 0 && !is_fine(writer, static_cast<u32>(stamp), true, is_strong))
        return SharedConflict{
            .byte = g << shift_, .is_with_write = true, .other_warp = writer, .other_pc = lines_[g]};
      for (u32 w = 0; with_reads && order_->tracks() && w < order_->warps(); ++w) {
        const u32 read = stamps_[std::size_t{g} * order_->warps() + w];
        if (read != 0 && !is_fine(w, read, false, false))
          return SharedConflict{.byte = g << shift_, .other_warp = w};
      }
    }
    return std::nullopt;
  }
  u32 granule_shift() const { return shift_; }

 private:
  static constexpr u32 k_stamp_shift = 12, k_warp_mask = 31;
  struct Moment;  // the numbers that entries are compared with
  Moment moment(const SharedAccess& access);
  void forget();
  bool writers_agree(const SharedAccess& access, const Moment& m, bool by_several) const;
  bool readers_agree(const SharedAccess& access, const Moment& m) const;
  void find_writers(const SharedAccess& access, const Moment& m, SharedConflicts& found) const;
  void find_readers(const SharedAccess& access, const Moment& m, SharedConflicts& found) const;
  void record_read(const SharedAccess& access, const Moment& m);
  void record_write(const SharedAccess& access, const Moment& m, bool by_several);

  const BlockOrder* order_ = nullptr;
  // stamp << 12 | many lanes << 11 | strong or several warps << 10 | lane << 5 | warp; 0: none.
  std::vector<u32> writers_, readers_, lines_;
  std::vector<u32> stamps_;  ///< of reads, by granule and warp; only if the order tracks
  i64 base_ = 0;             ///< an entry's stamp is the order's plus this
  u32 last_ = 0;             ///< highest stamp in an entry
  u32 latest_write_ = 0;     ///< highest stamp of a writer
  u32 shift_ = 2;
  bool is_on_ = false;
};

}  // namespace kernelites::worker::vgpu
