// SPDX-License-Identifier: Apache-2.0
// From a recorded variation to what its operator starts from: for a run, a resumed one and `kernelites prompt`.
#pragma once

#include <map>
#include <string>

#include "archive/archive.h"
#include "engine/search/run_config.h"
#include "engine/variation/operator.h"

namespace kernelites {

/// Where inputs are read from. Borrows all of it.
struct InputSource {
  const Archive& archive;
  const Task& task;
  const RunConfig& config;
  const LessonReader& lessons;
  DeviceFacts device;
  std::string baseline_id;
};

/// What the prompts of a variation with this first parent tell of failures: for VariationRecord::decision.
Json feedback_decision(const Archive& archive, const std::string& parent_id);

/// The bench workload at which the champion is furthest ahead of this elite; where none is, the one at which the elite
/// gains least over the baseline. Empty if it was not timed.
std::string furthest_workload(const Archive& archive, const std::string& candidate_id,
                              const std::string& baseline_id);

/// The input of the variation, without `is_known`. Throws Error if the archive lacks one of its candidates.
VariationInput variation_input(const InputSource& source, const VariationRecord& record);

/// The result of an inner evaluation as the agent sees it: with `compile` only what that found. `device_s` is all that
/// the candidate has cost.
InsideResult inner_result(const InputSource& source, const CandidateRecord& record, InsideStep step);

}  // namespace kernelites
