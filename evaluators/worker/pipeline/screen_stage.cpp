// SPDX-License-Identifier: Apache-2.0
// Stage screen: what the compiled code may not contain.
#include "evaluators/worker/contract/screen.h"

#include "evaluators/worker/pipeline/evaluation_context.h"

namespace kernelites::worker {

std::optional<Verdict> run_screen_stage(EvaluationContext& context) {
  context.report().remark =
      "no state, clocks, launch counters, hidden kernels or external symbols in PTX and machine code";
  if (auto verdict = screen(context.compiled, context.compiler.defences())) return verdict;
  for (std::string& remark : screen_remarks(context.compiled))
    context.examination.notes.push_back(std::move(remark));
  return std::nullopt;
}

}  // namespace kernelites::worker
