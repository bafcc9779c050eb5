// SPDX-License-Identifier: Apache-2.0
// Stage model: what the virtual GPU's time model says of the bench workloads, once a device has proven a candidate.
//
// It gives the device back first and runs on a processor beside it. It tells and never fails a candidate: kernels that
// the virtual GPU cannot execute (wgmma, TMA) and devices that it has no profile of have no modelled times. What
// becomes of them is the search's business: they order and sort out duels, and accept nobody (engine/search/triage.h).
#include <fmt/format.h>

#include <cmath>

#include "engine/core/error.h"
#include "evaluators/worker/pipeline/evaluation_context.h"
#include "evaluators/worker/pipeline/modelled_times.h"

namespace kernelites::worker {
namespace {

/// Fills in the times, as far as they come; the result says what ended it early. What the timed blocks wrote is not
/// compared as in a duel: these times place nobody.
std::string model_workloads(EvaluationContext& context) {
  StationPool::Lease station = context.sanitizers.take(context.seconds_left());
  context.use_computed_inputs(station->referee());
  const std::unique_ptr<ExecutorClient> executor = station->take_executor(LeaseUse::proving);
  const int module = executor->load(image_of(context.compiled));
  for (const Workload& workload : context.task.bench) {
    if (executor->fault()) return executor->fault()->message;
    if (context.seconds_left() <= 0) return "the evaluation's deadline passed";
    WorkloadSession session(station->referee(), *executor, context.task, workload, /*is_modelled=*/true);
    const int arm =
        session.add_arm(module, context.examination.plans.at(workload.name), context.compiled.lowered);
    fill_for_model(session, context.task, workload, context.request.model_key);
    const double us = modelled_time_us(session, arm, context.request.model_key);
    if (executor->fault()) return executor->fault()->message;
    if (us > 0 && std::isfinite(us)) context.examination.modelled_us[workload.name] = us;
  }
  return "";
}

}  // namespace

std::optional<Verdict> run_model_stage(EvaluationContext& context) {
  context.give_back_device();
  StageReport& report = context.report();
  std::string problem;
  try {
    problem = model_workloads(context);
  } catch (
      const Error& error) {  // no station became free, or its process was lost: no fault of the candidate
    problem = error.what();
  }
  const std::size_t modelled = context.examination.modelled_us.size();
  report.counts["shapes"] = static_cast<std::int64_t>(modelled);
  report.remark = "modelled by the virtual GPU, not measured";
  if (!problem.empty()) report.remark += fmt::format("; {}", problem);
  if (modelled < context.task.bench.size()) report.outcome = "unchecked";
  return std::nullopt;
}

}  // namespace kernelites::worker
