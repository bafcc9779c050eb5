// SPDX-License-Identifier: Apache-2.0
// Races in shared memory: two warps touch the same bytes between two barriers, and one of them writes.
//
// Every granule (the least access width of the kernel) remembers its last writing and its last reading warp, each with
// the interval between block-wide barriers in which that was; a second reading warp turns the reader into "several". An
// entry of an earlier interval is ordered before everything and counts as empty, so opening a barrier is one increment.
#pragma once

#include <vector>

#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

class RaceDetector {
 public:
  /// Starts a block. Granules are 1, 2 or 4 bytes.
  void start(u32 shared_bytes, u32 granule, bool is_on);
  /// A barrier of the whole block opened: what happened before is ordered.
  void next_interval();
  /// Records an access to [offset, offset + bytes) and returns the first byte that conflicts with an access of another
  /// warp in this interval, or -1.
  i64 read(u32 warp, u32 offset, u32 bytes);
  i64 write(u32 warp, u32 offset, u32 bytes, u32 line);
  /// Reads of 4 bytes at 32 offsets at once: true if none conflicts and all are recorded. False: use `read`.
  bool read_words(u32 warp, const u32* offsets);
  bool is_on() const { return is_on_; }
  /// For messages about a byte that conflicts with warp `warp`: did another warp write it in this interval, and where?
  bool was_written_by_other(u32 warp, u32 offset) const;
  u32 writer(u32 offset) const { return (writers_[offset >> shift_] & 255) - 1; }
  u32 writer_line(u32 offset) const { return lines_[offset >> shift_]; }

 private:
  // interval << 8 | warp + 1; 255: several warps.
  std::vector<u32> writers_, readers_, lines_;
  u32 interval_ = 1;
  u32 shift_ = 2;
  bool is_on_ = false;
};

}  // namespace kernelites::worker::vgpu
