// SPDX-License-Identifier: Apache-2.0
// Compiled references: the code once per task, the plans for whatever shapes an evaluation draws.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/task.h"
#include "evaluators/worker/nvrtc/candidate_compiler.h"
#include "evaluators/worker/pipeline/workload_session.h"

namespace kernelites::worker {

/// A task's reference, ready for the shapes it was asked for.
class Reference {
 public:
  Reference(CompiledCandidate compiled, std::vector<PlanPoint> points, std::string digest);

  const ModuleImage& image() const { return image_; }
  const std::string& digest() const { return digest_; }
  /// REQUIRES: `point` is the index of one of the points it was compiled for.
  ReferencePlan plan(std::size_t point) const { return {compiled_.plans.at(point), &compiled_.lowered}; }
  /// What computes the task's computed inputs; null if there are none.
  const InputsProgram* inputs() const { return inputs_ ? &*inputs_ : nullptr; }
  void set_inputs(InputsProgram program) { inputs_ = std::move(program); }

 private:
  std::optional<InputsProgram> inputs_;
  CompiledCandidate compiled_;
  ModuleImage image_;
  std::string digest_;
};

/// Compiles the task's reference.cu for `points`. Throws ConfigError with the compiler's words if it is
/// wrong: a reference belongs to the task, so that is the user's input.
Reference compile_reference(Compiler& compiler, const Task& task, const std::vector<PlanPoint>& points,
                            const DeviceFacts& device);

}  // namespace kernelites::worker
