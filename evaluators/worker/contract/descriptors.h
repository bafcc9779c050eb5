// SPDX-License-Identifier: Apache-2.0
// Where a candidate stands on the grid's axes, measured from its plans and PTX; and opcode counts.
#pragma once

#include <string_view>

#include "engine/core/evaluation.h"
#include "engine/core/task.h"
#include "evaluators/worker/contract/compiled_candidate.h"

namespace kernelites::worker {

/// Occurrences of opcode classes in the PTX: the opcode up to what distinguishes hardware paths ("mma.sync",
/// "wgmma.mma_async", "cp.async.bulk.tensor", "ld.global", ...). Static: nobody executed anything.
StaticCounts count_opcodes(std::string_view ptx);

/// The axes and labels of engine/core/axes.h:
/// - movement: direct | shared | cp_async | tma      (how operands reach the arithmetic)
/// - compute:  fma | mma_sync | wgmma
/// - split:    tile | split_kv | persistent | specialised
/// The highest that the code uses wins, so a cell does not move with the device or the inputs.
Descriptors describe(const CompiledCandidate& candidate, const Task& task);

}  // namespace kernelites::worker
