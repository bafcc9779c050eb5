// SPDX-License-Identifier: Apache-2.0
// How long a warp alone needs for each basic block: the longest chain of dependences, for the time model.
//
// Within a block the device's compiler moves instructions freely (loads first), so only dependences count; across
// blocks a warp issues in order, so that their times add up. Barriers and waits for copies order memory instructions.
#pragma once

#include <span>
#include <vector>

#include "evaluators/worker/vgpu/instruction.h"
#include "evaluators/worker/vgpu/syntax.h"

namespace kernelites::worker::vgpu {

/// One entry per statement: `near` and `far` of its basic block at the block's first statement, 0 elsewhere. `code`
/// holds the statements decoded, in their order.
std::vector<ChainCycles> critical_paths(const Function& function, std::span<const Instruction> code);

}  // namespace kernelites::worker::vgpu
