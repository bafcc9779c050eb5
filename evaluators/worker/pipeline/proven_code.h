// SPDX-License-Identifier: Apache-2.0
// Code of candidates that passed their examination: remembered, or compiled and screened again.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "evaluators/worker/pipeline/evaluation_context.h"
#include "evaluators/worker/pipeline/examine.h"

namespace kernelites::worker {

/// From the cache of proven code, or, for one that another worker has proven, compiled and screened for `points`.
std::variant<std::shared_ptr<const ProvenCode>, Verdict> proven_code(const Workshop& workshop,
                                                                     const Task& task,
                                                                     const Candidate& candidate,
                                                                     const std::vector<PlanPoint>& points,
                                                                     const DeviceFacts& facts);

}  // namespace kernelites::worker
