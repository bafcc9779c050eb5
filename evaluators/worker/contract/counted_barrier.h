// SPDX-License-Identifier: Apache-2.0
// Named barriers for a count of threads: roles of warps meet at them from different places of the code.
#pragma once

#include <vector>

#include "evaluators/worker/contract/ptx_text.h"

namespace kernelites::worker {

/// Whether the PTX holds a `bar` or `barrier` that names how many threads it is for. `tokens`: of that PTX.
bool has_counted_barrier(const std::vector<PtxToken>& tokens);

}  // namespace kernelites::worker
