// SPDX-License-Identifier: Apache-2.0
// mbarriers: counters of arrivals and of bytes in shared memory, whose phases threads wait for (PTX ISA 9.7.13.15).
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "evaluators/worker/vgpu/order.h"
#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

struct Block;
struct Instruction;
struct Warp;

inline constexpr u32 k_mbarrier_bytes = 8;

/// The copy that brought bytes to a phase last.
struct BringingCopy {
  u32 warp = 0, lane = 0, pc = 0;
};

/// One mbarrier. A phase ends when no arrival is pending and as many bytes have come as were expected.
struct MBarrier {
  u32 expected = 0;         ///< arrivals of each phase
  u32 pending = 0;          ///< arrivals that this phase still waits for
  i64 transactions = 0;     ///< bytes expected and not yet brought
  u32 phase = 0;            ///< the current one
  u32 line = 0;             ///< of its mbarrier.init
  u32 unit = 0, stamp = 0;  ///< of who initialised it
  u8 lane = 0;              ///< the same
  bool is_fenced = false;   ///< by a fence.mbarrier_init of that thread
  BlockOrder::Gate coming;  ///< what the arrivals of the current phase knew
  BlockOrder::Gate past;    ///< the same of the last phase
  /// How far units of other blocks had come when they arrived, whatever they handed on: in this phase, in the last.
  Clock coming_units, past_units;
  /// Copies that nobody has waited for: of the current phase, of the last one.
  std::optional<BringingCopy> coming_copy, past_copy;
};

/// By offset in shared memory.
using MBarriers = std::unordered_map<u32, MBarrier>;

/// The mbarrier at an offset. Throws Raised (for `lane`) if there is none.
MBarrier& find_mbarrier(Block& block, u32 offset, u32 lane);
/// Throws Raised unless `block`, another one of the cluster perhaps, has an mbarrier there that the warp may complete.
void require_mbarrier(Warp& warp, Block& block, const Instruction& i, u32 offset, u32 lane);
/// fence.mbarrier_init of these lanes.
void fence_initialised(Warp& warp, Mask mask);
/// Remarks that TMA, working for the warp, completes at an mbarrier whose initialisation it may not see.
void look_for_init_fence(Warp& warp, const MBarrier& barrier, u32 lane);
/// One or more arrivals of the warp at an mbarrier of `block`. Throws Raised if the phase waits for fewer.
void arrive_at_mbarrier(Warp& warp, Block& block, MBarrier& barrier, u32 count, u32 lane,
                        BlockOrder::Release part);
/// Bytes that have come; what the copy knew when it was issued is handed on.
void bring_bytes(Block& block, MBarrier& barrier, u32 bytes, const BlockOrder::Gate& known,
                 std::optional<BringingCopy> copy);
/// An arrival that copies have put off; it hands on what their issuer knew.
void arrive_late(Block& block, MBarrier& barrier, const BlockOrder::Gate& known);
/// mbarrier.test_wait and try_wait: sets the predicate and goes on, or parks the lanes until a phase ends.
void wait_at_mbarrier(Warp& warp, const Instruction& i, Mask mask);

/// A wait that may end without its phase: lets all that wait look again and go on. False when that has been tried
/// often enough since a phase ended, or nobody waits.
bool time_out_waits(Block& block);
/// "; warp 3 waits at line 88 for phase 2 of the mbarrier at byte 1024 ...", for those that wait at mbarriers.
std::string mbarrier_waits(const Block& block, u32 limit);

}  // namespace kernelites::worker::vgpu
