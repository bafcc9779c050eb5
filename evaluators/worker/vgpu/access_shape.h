// SPDX-License-Identifier: Apache-2.0
// What checks of all memory spaces share: the shape of a warp's offsets, and the state bytes behind "was it written".
//
// For access.cpp and shared_access.cpp, like access.h.
#pragma once

#include <string>

#include "evaluators/worker/vgpu/access.h"

namespace kernelites::worker::vgpu {

struct Offense {
  bool is_outside = false, is_misaligned = false;
};

/// Gives inactive lanes the offset of an active one, finds the shape, compares with `limit` (the last good offset).
Offense finish_offsets(Access& access, Mask mask, u32 bytes, u32 limit);
/// REQUIRES: a lane of the mask is misaligned.
u32 first_misaligned(const Access& access, Mask mask, u32 bytes);

/// Is a byte of the access not written? Then `lane` is the first such lane.
bool has_unwritten(const u8* state, const Access& access, Mask mask, u32 bytes, u32& lane);
/// The first of `bytes` state bytes that is not k_written; `bytes` if all are.
u32 first_unwritten(const u8* state, u32 bytes);
void set_state(u8* state, const Access& access, Mask mask, u32 bytes, u8 value);

/// "read", "write", "atomic update".
const char* verb(Use use);
/// Counts accesses by which a warp may be waiting: the same strong access to the same places over and over, with no
/// other access between. Stores end the waiting of others.
inline void note_poll(Warp& warp, const Instruction& i, const Access& access, Use use) {
  LaunchState* const state = warp.context->state;
  if (state == nullptr) return;
  if (use == Use::store) ++state->changes;
  if (use == Use::store || (i.flags & k_strong_access) == 0) {
    warp.poll.count = 0;
    warp.poll.pc = ~0u;
    return;
  }
  u64 places = reinterpret_cast<std::uintptr_t>(access.base);
  KERNELITES_LANES(l) places += u64{access.offsets[l]} * (2 * l + 1);
  const bool is_again =
      warp.poll.pc == warp.pc && warp.poll.places == places && warp.poll.changes == state->changes;
  warp.poll = {.count = is_again ? warp.poll.count + 1 : 0,
               .changes = state->changes,
               .places = places,
               .pc = warp.pc};
  if (warp.poll.count >= k_polls_before_yield) warp.turn_end = warp.executed;
}
[[noreturn]] void fault_misaligned(u32 lane, u32 bytes, Use use, const std::string& where, u64 offset);

}  // namespace kernelites::worker::vgpu
