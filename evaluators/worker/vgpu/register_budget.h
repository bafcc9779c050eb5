// SPDX-License-Identifier: Apache-2.0
// setmaxnreg: the registers of a block as a pool that its warps give to and take from.
//
// A kernel begins with as many registers a thread as ptxas gives it, which can be told beforehand only where the launch
// bounds name a minimum of blocks per multiprocessor, or .maxnreg a number; otherwise ptxas drops setmaxnreg. The pool
// holds what setmaxnreg.dec has given back; a warp that ends gives nothing back (so does an H100). setmaxnreg.inc waits
// until it holds enough: for ever, if the warps of a block together ask for more than it began with.
#pragma once

#include <string>

#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

struct Block;
struct Function;
struct Instruction;
struct Warp;

/// What the directives of a kernel and its setmaxnreg say of the registers a thread begins with; 0: nothing.
u32 entry_registers(const Function& kernel, u32 least_increase);

/// Executes setmaxnreg and goes on, or parks the warp until the pool holds enough. Throws Raised for a count that PTX
/// does not allow here.
void set_register_count(Warp& warp, const Instruction& i, Mask mask);
/// "for 240 registers a thread (setmaxnreg), of which ...": what a parked warp waits for.
std::string register_wait_text(const Block& block, const Warp& warp, const Instruction& i);

}  // namespace kernelites::worker::vgpu
