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

/// A task's reference, ready for the shapes it was asked for. One in Python needs no compile (python_reference.h).
class Reference {
 public:
  Reference(CompiledCandidate compiled, std::vector<PlanPoint> points, std::string digest);
  static Reference in_python() { return {}; }

  /// Before it is asked: loads its code, and what computes inputs. Borrows this until the next call.
  void load_into(Referee& referee) const;
  /// REQUIRES: `point` is the index of one of the points it was compiled for.
  ReferencePlan plan(std::size_t point) const {
    if (!compiled_) return {.is_python = true};
    return {.plan = compiled_->plans.at(point), .lowered = &compiled_->lowered};
  }
  /// What computes the task's computed inputs; null if there are none.
  const InputsProgram* inputs() const { return inputs_ ? &*inputs_ : nullptr; }
  void set_inputs(InputsProgram program) { inputs_ = std::move(program); }

 private:
  Reference() = default;

  std::optional<InputsProgram> inputs_;
  std::optional<CompiledCandidate> compiled_;  ///< empty: a reference.py
  ModuleImage image_;
  std::string digest_;
};

/// Compiles the task's reference.cu, if that is what it has, for `points`. Throws ConfigError with the compiler's words
/// if it is wrong: a reference belongs to the task, so that is the user's input.
Reference compile_reference(Compiler& compiler, const Task& task, const std::vector<PlanPoint>& points,
                            const DeviceFacts& device);

}  // namespace kernelites::worker
