// SPDX-License-Identifier: Apache-2.0
// The stage table, walked.
#include "evaluators/worker/pipeline/examine.h"

#include "evaluators/worker/pipeline/evaluation_context.h"

namespace kernelites::worker {

Examination examine(const Workshop& workshop, const ExamineRequest& request, const Task& task,
                    double deadline_s, double& device_s) {
  using clock = std::chrono::steady_clock;
  EvaluationContext context{
      .request = request,
      .task = task,
      .compiler = workshop.compiler,
      .stations = workshop.stations,
      .device = workshop.stations.facts(),
      .deadline = clock::now() + std::chrono::milliseconds(static_cast<long>(deadline_s * 1000)),
      .points = draw_points(task, request.key)};
  context.reference = std::async(std::launch::async, [&context] {
    return reference_for(context.compiler, context.task, context.points, context.device);
  });
  std::optional<Verdict> verdict;
  for (const Stage& stage : k_examine_stages) {
    const auto start = clock::now();
    verdict =
        context.seconds_left() > 0
            ? stage.run(context)
            : Verdict::failed(stage.name, "deadline", "the evaluation's deadline passed before this stage");
    context.examination.stage_ms.emplace(
        stage.name, std::chrono::duration<double, std::milli>(clock::now() - start).count());
    if (verdict) break;
  }
  context.examination.verdict = verdict ? *verdict : Verdict::passed();
  if (!verdict) {
    workshop.proven.add(task.digest, request.candidate,
                        {.compiled = std::move(context.compiled), .plans = context.examination.plans});
  }
  device_s += context.device_s;
  return std::move(context.examination);
}

}  // namespace kernelites::worker
