// SPDX-License-Identifier: Apache-2.0
// How much a kernel computes and moves, read off its PTX: every instruction counted once, loops or not.
#pragma once

#include <cstddef>
#include <vector>

#include "evaluators/worker/contract/ptx_text.h"

namespace kernelites::worker {

/// Indices of the tokens that are opcodes: first words of instructions, guarded ones too; labels are none.
std::vector<std::size_t> opcode_positions(const std::vector<PtxToken>& tokens);

/// Sums over the instructions of a module, per thread.
struct CodeBalance {
  double flops = 0;         ///< multiply-adds count 2, tensor-core operations by their shape
  double global_bytes = 0;  ///< of device memory, cp.async and bulk copies included
  double access_bytes = 0;  ///< the widest single access of one thread; bulk copies count whole
  /// Floating-point operations per byte; what touches no device memory counts as one byte.
  double intensity() const { return flops / (global_bytes > 1 ? global_bytes : 1); }
};

/// `bulk_bytes`: what one bulk copy moves, the mean box of the plans' tensor maps; `threads`: of the block that shares
/// it.
CodeBalance balance_of(const std::vector<PtxToken>& tokens, double bulk_bytes, double threads);

}  // namespace kernelites::worker
