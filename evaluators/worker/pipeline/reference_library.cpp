// SPDX-License-Identifier: Apache-2.0
// Compiles a reference like a candidate; one that does not compile is the fault of the task.
#include "evaluators/worker/pipeline/reference_library.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "engine/core/task_reference.h"

namespace kernelites::worker {

Reference::Reference(CompiledCandidate compiled, std::vector<PlanPoint> points, std::string digest)
    : compiled_(std::move(compiled)), image_(image_of(*compiled_)), digest_(std::move(digest)) {
  KERNELITES_ASSERT(compiled_->plans.size() == points.size());
}

void Reference::load_into(Referee& referee) const {
  if (compiled_) referee.use_reference(image_, digest_);
  if (inputs_) referee.use_inputs(*inputs_);
}

namespace {

/// The task's own source in one of its forms; what is wrong with it is the fault of the task.
CompiledCandidate compile_form(Compiler& compiler, const Task& task, Form form,
                               const std::vector<PlanPoint>& points, const DeviceFacts& device) {
  auto result =
      compile_candidate(compiler, Candidate{.source = task.reference_source}, task, form, points, device);
  if (const auto* verdict = std::get_if<Verdict>(&result)) {
    throw ConfigError(fmt::format("{}/reference.cu", task.name),
                      form == Form::inputs ? "KERNELITES_INPUTS" : "",
                      fmt::format("cannot be used ({}): {}", verdict->reason, verdict->message));
  }
  return std::move(std::get<CompiledCandidate>(result));
}

}  // namespace

Reference compile_reference(Compiler& compiler, const Task& task, const std::vector<PlanPoint>& points,
                            const DeviceFacts& device) {
  if (!python_of(task).empty()) return Reference::in_python();
  CompiledCandidate compiled = compile_form(compiler, task, Form::reference, points, device);
  std::string code = digest(compiled.ptx);
  Reference reference(std::move(compiled), points, std::move(code));
  if (std::none_of(task.tensors.begin(), task.tensors.end(), is_computed)) return reference;
  const CompiledCandidate inputs = compile_form(compiler, task, Form::inputs, points, device);
  InputsProgram program{
      .image = image_of(inputs), .digest = digest(inputs.ptx), .lowered = inputs.lowered, .plans = {}};
  for (std::size_t i = 0; i < points.size(); ++i)
    program.plans[points[i].workload->dims] = inputs.plans.at(i);
  reference.set_inputs(std::move(program));
  return reference;
}

}  // namespace kernelites::worker
