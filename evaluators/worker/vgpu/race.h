// SPDX-License-Identifier: Apache-2.0
// Races in shared memory: two warps touch the same bytes between two barriers, and one of them writes.
//
// Every granule (the least access width of the kernel) remembers, for the current interval between block-wide
// barriers, its writing warp and the set of its reading warps. A granule of an earlier interval is ordered before
// everything and counts as empty, so opening a barrier is one increment.
#pragma once

#include <vector>

#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

struct Warp;

class RaceDetector {
 public:
  /// Starts a block. Granules are 1, 2, 4 bytes.
  void start(u32 shared_bytes, u32 granule, bool is_on);
  /// A barrier of the whole block opened: what happened before is ordered.
  void next_interval();
  /// The offset of the first byte of [offset, offset + bytes) that conflicts with an access of another warp in this
  /// interval, or -1. Records the access.
  i64 read(u32 warp, u32 offset, u32 bytes);
  i64 write(u32 warp, u32 offset, u32 bytes);
  bool is_on() const { return is_on_; }
  /// For the message: did the recorded access that conflicts with warp `warp` at `offset` write?
  int writer(u32 offset) const;

 private:
  // interval (24 bits) | writer + 1 (8 bits) | readers (32 bits, one per warp)
  std::vector<u64> granules_;
  u64 interval_ = 1;
  u32 shift_ = 2;
  bool is_on_ = false;
};

}  // namespace kernelites::worker::vgpu
