// SPDX-License-Identifier: Apache-2.0
// The stage table, walked.
#include "evaluators/worker/pipeline/examine.h"

#include <algorithm>

#include "evaluators/worker/device/virtual_profile.h"
#include "evaluators/worker/pipeline/evaluation_context.h"

namespace kernelites::worker {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Runs one stage with its report around it.
std::optional<Verdict> run_stage(const Stage& stage, EvaluationContext& context) {
  const Clock::time_point start = Clock::now();
  context.examination.stages.push_back({.stage = stage.name, .outcome = "passed"});
  auto verdict =
      context.seconds_left() > 0
          ? stage.run(context)
          : Verdict::failed(stage.name, "deadline", "the evaluation's deadline passed before this stage");
  StageReport& report = context.report();
  report.wall_s = seconds_since(start);
  if (context.device_since) report.device_s = seconds_since(std::max(start, *context.device_since));
  if (verdict) report.outcome = "failed";
  context.examination.stage_ms[stage.name] = 1e3 * report.wall_s;
  return verdict;
}

/// Counters are the device's own, and read for those that would become elites.
bool may_count(const EvaluationContext& context) {
  return context.request.is_thorough && !context.device.is_virtual;
}

/// Modelled times of a device that has a profile, if they are asked for. Nobody fails for want of time for them.
bool may_model(const EvaluationContext& context) {
  constexpr double k_left_s_min = 1;
  return context.request.wants_modelled && !profile_of(context.device).empty() &&
         context.seconds_left() > k_left_s_min;
}

/// Plans and code are compiled by one stage, and reported as the two that they are.
void report_plan(const std::optional<Verdict>& verdict, Examination& examination) {
  StageReport& compile = examination.stages.back();
  const auto plan_ms = examination.stage_ms.find("plan");
  StageReport plan{
      .stage = "plan",
      .outcome = "passed",
      .wall_s = plan_ms == examination.stage_ms.end() ? 0 : plan_ms->second / 1e3,
      .counts = {{"shapes", compile.counts["plans"]}},
      .remark = "plans of all shapes evaluated by the compiler, read as data, checked against limits"};
  compile.counts.erase("plans");
  compile.wall_s = std::max(0.0, compile.wall_s - plan.wall_s);
  if (verdict && verdict->stage == "plan") {
    plan.outcome = "failed";
    plan.wall_s += compile.wall_s;
    compile = std::move(plan);
    return;
  }
  examination.stages.insert(examination.stages.end() - 1, std::move(plan));
}

}  // namespace

Examination examine(const Workshop& workshop, const ExamineRequest& request, const Task& task,
                    double deadline_s, double& device_s) {
  EvaluationContext context{
      .request = request,
      .task = task,
      .compiler = workshop.compiler,
      .stations = workshop.stations,
      .sanitizers = workshop.sanitizers,
      .device = workshop.stations.facts(),
      .deadline = Clock::now() + std::chrono::milliseconds(static_cast<long>(deadline_s * 1000)),
      .points = draw_points(task, request.key)};
  if (context.device.is_virtual) limit_sampled_rows(task, context.points);
  context.reference = std::async(std::launch::async, [&context] {
                        return reference_for(context.compiler, context.task, context.points, context.device);
                      }).share();
  std::optional<Verdict> verdict;
  for (const Stage& stage : k_examine_stages) {
    if (!workshop.compiler.defences().has(std::string("stage:") + stage.name)) continue;
    if (stage.run == run_counters_stage && !may_count(context)) continue;
    if (stage.run == run_model_stage && !may_model(context)) continue;
    verdict = run_stage(stage, context);
    if (stage.run == run_compile_stage) report_plan(verdict, context.examination);
    if (!verdict && request.last_stage == stage.name)
      verdict = Verdict::failed(stage.name, "stopped_as_asked", "the request asked for no later stage");
    if (verdict) break;
  }
  context.examination.verdict = verdict ? *verdict : Verdict::passed();
  if (!verdict) {
    workshop.proven.add(task.digest, request.candidate,
                        {.compiled = std::move(context.compiled), .plans = context.examination.plans});
  }
  context.give_back_device();
  device_s += context.device_s;
  return std::move(context.examination);
}

}  // namespace kernelites::worker
