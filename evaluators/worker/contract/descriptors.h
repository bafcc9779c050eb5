// SPDX-License-Identifier: Apache-2.0
// Where a candidate stands on the axes, measured from its plans, its PTX and its resources; and opcode counts.
#pragma once

#include <string_view>
#include <vector>

#include "engine/core/evaluation.h"
#include "evaluators/worker/contract/compiled_candidate.h"

namespace kernelites::worker {

/// Occurrences of opcode classes in the PTX: the opcode up to what distinguishes hardware paths ("mma.sync",
/// "wgmma.mma_async", "cp.async.bulk.tensor", "ld.global", ...). Static: nobody executed anything.
StaticCounts count_opcodes(std::string_view ptx);

/// Where the candidate stands on every axis of engine/core/axes.h. The highest that the code uses wins, so that a cell
/// does not move with the inputs. `plans`: those of the shapes that are the same in every run; what is launched at
/// hold-out shapes alone would tell about them. `tensor_bytes`: how large the task's tensors are at one of its shapes,
/// in the task's order: a launch that is handed most of them does the work; empty: not known.
Descriptors describe(const CompiledCandidate& candidate, const std::vector<LaunchPlan>& plans,
                     const DeviceFacts& device, const std::vector<double>& tensor_bytes = {});

}  // namespace kernelites::worker
