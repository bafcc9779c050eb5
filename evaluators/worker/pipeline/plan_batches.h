// SPDX-License-Identifier: Apache-2.0
// Evaluates a candidate's plan at thousands of shapes, some hundred to a compile.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "engine/core/candidate.h"
#include "engine/core/task.h"
#include "evaluators/worker/contract/plan_batch.h"
#include "evaluators/worker/nvrtc/compile_child.h"

namespace kernelites::worker {

/// What is evaluated, and by what: everything but the shapes.
struct PlanSource {
  const Task& task;  ///< its scalars' values are those of the plans
  Form form = Form::candidate;
  const Candidate& candidate;
  const std::vector<PlanPoint>& typed_by;
  DeviceFacts device;
};

/// A shape at which the plan is no constant expression, and the compiler's words.
struct PlanFailure {
  std::size_t point = 0;
  std::string words;
};

/// The words of the plan at every point, in order; or the first failure that was found. `jobs` compiles at once.
std::variant<std::vector<PlanWords>, PlanFailure> evaluate_batches(Compiler& compiler,
                                                                   const PlanSource& source,
                                                                   const std::vector<PlanPoint>& points,
                                                                   int jobs);

}  // namespace kernelites::worker
