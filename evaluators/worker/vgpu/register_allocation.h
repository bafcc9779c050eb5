// SPDX-License-Identifier: Apache-2.0
// Gives the virtual registers of a function shared slots, so that the register file of a warp stays in the cache.
#pragma once

#include <vector>

#include "evaluators/worker/vgpu/syntax.h"

namespace kernelites::worker::vgpu {

/// Replaces registers whose only definition is "mov reg, immediate" by the immediate and drops what becomes dead.
void fold_constants(Function& function);

struct RegisterSlots {
  std::vector<u32> offsets;  ///< by register: byte offset into the arena
  u32 end = 0;               ///< first free byte behind them
};

/// Places predicates from `predicates_begin` on (4 bytes each, none shared) and the other registers from
/// `registers_begin` on, shared by liveness and linear scan.
RegisterSlots allocate_registers(const Function& function, u32 predicates_begin, u32 registers_begin);

/// Number of predicate registers of a function.
u32 predicate_count(const Function& function);

}  // namespace kernelites::worker::vgpu
