// SPDX-License-Identifier: Apache-2.0
// Values of the tunables that a source declares: complete, default, and the neighbours of a choice.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/core/candidate.h"

namespace kernelites {

using Tuning = std::map<std::string, std::int64_t>;

/// `candidate` with exactly the tunables that its source declares: missing ones get their default, unknown
/// ones go. Two candidates that compile alike thus have one id.
Candidate with_full_tuning(Candidate candidate);

/// All tunings that differ from `from` in one declared tunable (`changes` = 1) or in two (`changes` = 2), in
/// a fixed order, at most `count_max`. REQUIRES: `from` is complete.
std::vector<Tuning> neighbours(const std::vector<Tunable>& tunables, const Tuning& from, int changes,
                               std::size_t count_max);

}  // namespace kernelites
