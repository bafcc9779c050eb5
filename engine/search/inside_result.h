// SPDX-License-Identifier: Apache-2.0
// What an agent was told of an inner evaluation, as the archive keeps it.
#pragma once

#include "engine/core/json.h"
#include "engine/variation/operator.h"

namespace kernelites {

/// Everything but the candidate's source, which the archive has.
Json inside_result_json(const InsideResult& result);
/// Its inverse; the specimen gets `candidate`. Throws Error if the JSON is another.
InsideResult read_inside_result(const Json& json, const Candidate& candidate);

}  // namespace kernelites
