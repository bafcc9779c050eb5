// SPDX-License-Identifier: Apache-2.0
// A kernel in numbers with closed names: what of it differs from another says which technique was applied.
//
// Everything is measured from the compiled code and the evaluated plans, or is the value of a tunable with a known
// name. What a model called its kernels, variables and tunables otherwise has no place here.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/candidate.h"
#include "engine/core/device_facts.h"
#include "engine/core/evaluation.h"

namespace kernelites {

/// Name of the measure -> value. A measure that is not known is absent; a count of 0 is there.
using KernelMeasures = std::map<std::string, double>;

/// The measures of a candidate that compiled. `workloads`: whose plans are looked at, the launch with the most blocks
/// of each, as means over them. Empty if the examination tells nothing of the code.
KernelMeasures measures_of(const Candidate& candidate, const Examination& examination,
                           const DeviceFacts& device, const std::vector<std::string>& workloads);

/// All names that `measures_of` gives.
const std::vector<std::string>& measure_names();

/// The measure that a tunable of this name is: "STAGES_64" -> "tune_stages"; empty for names that are not known.
std::string_view tunable_measure(std::string_view tunable);

}  // namespace kernelites
