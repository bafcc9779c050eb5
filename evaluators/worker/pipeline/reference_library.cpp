// SPDX-License-Identifier: Apache-2.0
// Compiles a reference like a candidate; one that does not compile is the fault of the task.
#include "evaluators/worker/pipeline/reference_library.h"

#include <fmt/format.h>

#include "engine/core/digest.h"
#include "engine/core/error.h"

namespace kernelites::worker {

Reference::Reference(CompiledCandidate compiled, std::vector<PlanPoint> points, std::string digest)
    : compiled_(std::move(compiled)), image_(image_of(compiled_)), digest_(std::move(digest)) {
  KERNELITES_ASSERT(compiled_.plans.size() == points.size());
}

Reference compile_reference(Compiler& compiler, const Task& task, const std::vector<PlanPoint>& points,
                            const DeviceFacts& device) {
  auto result = compile_candidate(compiler, Candidate{.source = task.reference_source}, task, Form::reference,
                                  points, device);
  if (const auto* verdict = std::get_if<Verdict>(&result)) {
    throw ConfigError(fmt::format("{}/reference.cu", task.name), "",
                      fmt::format("cannot be used ({}): {}", verdict->reason, verdict->message));
  }
  auto& compiled = std::get<CompiledCandidate>(result);
  std::string code = digest(compiled.ptx);
  return Reference(std::move(compiled), points, std::move(code));
}

}  // namespace kernelites::worker
