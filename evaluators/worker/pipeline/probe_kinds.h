// SPDX-License-Identifier: Apache-2.0
// What each kind of property does to inputs and expects of outputs.
#pragma once

#include <string_view>
#include <vector>

#include "engine/core/rng.h"
#include "evaluators/worker/pipeline/probe_rig.h"

namespace kernelites::worker {

/// A row of the table: whether the property holds at a shape, and the words for a candidate that lacks it.
struct ProbeKind {
  std::string_view kind;
  bool (*holds)(ProbeRig& rig, const Property& property, std::size_t point, Rng& rng);
  std::string_view expectation;  ///< for the message: "the outputs must ..."
};

/// One row for each of engine/core/property_kind.cpp, in its order.
const std::vector<ProbeKind>& probe_kinds();

}  // namespace kernelites::worker
