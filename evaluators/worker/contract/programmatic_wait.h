// SPDX-License-Identifier: Apache-2.0
// Launches that start early wait for the one before: by griddepcontrol.wait, somewhere in the kernel.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "evaluators/worker/contract/compiled_candidate.h"
#include "evaluators/worker/contract/ptx_text.h"

namespace kernelites::worker {

/// The kernel of a programmatic launch whose code never waits for the launch before: what that one wrote may not be
/// there yet. A wait in a function (`.func`) of the module counts for all kernels. `tokens`: of the candidate's PTX.
std::optional<std::string> find_unwaited_kernel(const CompiledCandidate& candidate,
                                                const std::vector<PtxToken>& tokens);

}  // namespace kernelites::worker
