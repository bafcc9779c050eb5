// SPDX-License-Identifier: Apache-2.0
// What a finished compile says of the code: signatures, resources, module data, advisories, digest.
#pragma once

#include <optional>

#include "engine/core/device_facts.h"
#include "engine/core/verdict.h"
#include "evaluators/worker/contract/compiled_candidate.h"
#include "evaluators/worker/nvrtc/compile.h"

namespace kernelites::worker {

/// Moves PTX and cubin of `output` into `compiled` and fills in everything that follows from them.
/// REQUIRES: `compiled.plans` and `compiled.source` are set. A verdict if the output cannot be read.
std::optional<Verdict> report_code(CompileOutput& output, const DeviceFacts& device,
                                   CompiledCandidate& compiled);

}  // namespace kernelites::worker
