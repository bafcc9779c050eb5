// SPDX-License-Identifier: Apache-2.0
// Looking up, compiling, screening.
#include "evaluators/worker/pipeline/proven_code.h"

#include <utility>

#include "evaluators/worker/contract/screen.h"

namespace kernelites::worker {

std::variant<std::shared_ptr<const ProvenCode>, Verdict> proven_code(const Workshop& workshop,
                                                                     const Task& task,
                                                                     const Candidate& candidate,
                                                                     const std::vector<PlanPoint>& points,
                                                                     const DeviceFacts& facts) {
  if (auto proven = workshop.proven.find(task.digest, candidate)) return proven;
  auto result = compile_candidate(workshop.compiler, candidate, task, Form::candidate, points, facts);
  if (auto* verdict = std::get_if<Verdict>(&result)) return std::move(*verdict);
  ProvenCode code{.compiled = std::move(std::get<CompiledCandidate>(result))};
  if (auto verdict = screen(code.compiled)) return std::move(*verdict);
  for (std::size_t i = 0; i < points.size(); ++i)
    code.plans[points[i].workload->name] = code.compiled.plans[i];
  return std::make_shared<const ProvenCode>(std::move(code));
}

}  // namespace kernelites::worker
