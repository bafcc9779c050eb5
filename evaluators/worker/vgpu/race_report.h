// SPDX-License-Identifier: Apache-2.0
// From conflicts of the race detectors to faults.
#pragma once

#include <string>

#include "evaluators/worker/vgpu/access.h"

namespace kernelites::worker::vgpu {

/// Checks shared memory for races. Throws Raised, or leaves a store that may change nothing to settle_overwrite.
void check_shared_race(Warp& warp, const Instruction& i, const Access& access, Mask mask, u32 bytes, Use use);
/// Of an access to another block's shared memory, or to the own one that other blocks have touched: checks it against
/// theirs, and the former against the block's own; notes the former.
void check_cluster_race(Warp& warp, const Instruction& i, Block& memory, const Access& access, Mask mask,
                        u32 bytes, Use use);
/// The same for global memory. REQUIRES: LaunchState::races.
void check_global_race(Warp& warp, const Instruction& i, const Region& region, const Access& access,
                       Mask mask, u32 bytes, Use use);

/// That `warp` writes what was read early.
std::string early_read_text(const Warp& warp, const Region& region, const EarlyGlobalRead& early);

}  // namespace kernelites::worker::vgpu
