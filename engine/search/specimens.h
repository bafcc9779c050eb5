// SPDX-License-Identifier: Apache-2.0
// Candidates of the archive as operators and prompts see them.
#pragma once

#include <map>
#include <string>

#include "archive/archive.h"
#include "engine/variation/operator.h"

namespace kernelites {

/// REQUIRES: the candidate is recorded.
Specimen specimen_of(const Archive& archive, const std::string& candidate_id, const std::string& baseline_id,
                     const std::map<std::string, double>& weights);
Specimen specimen_of(const EvaluatedCandidate& evaluated, const std::string& baseline_id,
                     const std::map<std::string, double>& weights);

}  // namespace kernelites
