// SPDX-License-Identifier: Apache-2.0
// The facts that go with a difference in time at one workload, each with what it is worth at the device's rates.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tools/inspect/gain_reasons.h"

namespace kernelites {

/// How many hardware counters of the workload are known of both.
std::size_t counted_in_both(const CandidateChange& change, const std::string& workload);

/// Worth the most first, in the direction of the difference; those without a worth after them. What differs by less
/// than a percent is left out. REQUIRES: `times` has both times.
std::vector<GainFact> gain_facts(const RunReader& run, const CandidateChange& change,
                                 const WorkloadTimes& times);

}  // namespace kernelites
