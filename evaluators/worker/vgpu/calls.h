// SPDX-License-Identifier: Apache-2.0
// Calls and returns of the running lanes, with what recursion needs: saved registers and a stack of frames.
#pragma once

#include "evaluators/worker/vgpu/warp.h"

namespace kernelites::worker::vgpu {

// Instruction fields of a call. Direct: `target` is the entry, `list` begins the copies of arguments (`count`) and of
// results (`extra`), triples (from, to, bytes) in local memory. Indirect (mode k_indirect_call): `a` holds the callee's
// address, `list` begins `extra` records of k_callee_words words.
// Both: `b` is what the caller's own frame takes on the stack, `c` 0 or the list + 1 of what to save of the caller.
inline constexpr u8 k_indirect_call = 1;
inline constexpr u32 k_callee_words = 6;  ///< address (low, high), entry, list, arguments, results

/// Bytes per lane for the frames of recursive functions. A device has 1024 by default.
inline constexpr u32 k_stack_bytes = 8192;
inline constexpr std::size_t k_max_call_depth = 256;

/// Enters the callee with `mask`'s lanes; of an indirect call with those that go to the same function, the others call
/// again.
void enter_call(Warp& warp, const Instruction& i, Mask mask);
/// Takes the lanes of `mask` one call back. Returns those that are in none: a return of the kernel itself. The lanes
/// that went back are in groups of the warp.
Mask leave_call(Warp& warp, Mask mask);

}  // namespace kernelites::worker::vgpu
