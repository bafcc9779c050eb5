// SPDX-License-Identifier: Apache-2.0
// Outputs of an exported library against its float64 reference, by the kernels with which the search compared.
#pragma once

#include <vector>

#include "tools/exporting/runtime/library_rig.h"

namespace KERNELITES_LIBRARY {

/// What the reference says of one case and draw. On the device.
struct Answer {
  std::vector<Buffer> tensors;  // of the reference's own form; inputs are empty
};

/// Runs the reference for the rows that the case lists.
Answer ask_reference(Rig& rig, Library& reference, const Case& test, const CaseMemory& memory);
void release(Rig& rig, Answer& answer);

/// The worst row or element of all outputs in units of its gate; infinite where a number is missing or a rule broken.
double worst_error(Rig& rig, const Case& test, const CaseMemory& memory, const Answer& answer);

}  // namespace KERNELITES_LIBRARY
