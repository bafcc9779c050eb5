// SPDX-License-Identifier: Apache-2.0
// Stages plan and compile: every plan evaluated and judged, the code compiled once, resources and descriptors
// read.
#include <set>

#include "evaluators/worker/contract/descriptors.h"
#include "evaluators/worker/pipeline/evaluation_context.h"

namespace kernelites::worker {
namespace {

std::vector<LaunchPlan> plans_at_known_shapes(const EvaluationContext& context) {
  std::vector<LaunchPlan> plans;
  for (std::size_t i = 0; i < context.points.size(); ++i)
    if (context.points[i].use != PointUse::hold_out) plans.push_back(context.compiled.plans[i]);
  return plans;
}

/// At the first shape: which tensors are the large ones is the same at all.
std::vector<double> sizes_of_tensors(const EvaluationContext& context) {
  std::vector<double> bytes;
  for (const TensorSpec& tensor : context.task.tensors)
    bytes.push_back(static_cast<double>(dtype_bytes(tensor.dtype)) *
                    static_cast<double>(element_count(tensor, context.points.front().workload)));
  return bytes;
}

}  // namespace

std::optional<Verdict> run_compile_stage(EvaluationContext& context) {
  std::vector<PlanPoint> points;
  for (const EvaluationPoint& point : context.points) {
    points.push_back({.workload = &point.workload, .is_hidden = point.use == PointUse::hold_out});
  }
  StageReport& report = context.report();
  report.counts["plans"] = static_cast<std::int64_t>(points.size());
  report.remark =
      "one compile to PTX and machine code; plans checked against the code's signatures and resources";
  auto result = compile_candidate(context.compiler, context.request.candidate, context.task, Form::candidate,
                                  points, context.device);
  if (auto* verdict = std::get_if<Verdict>(&result)) return std::move(*verdict);
  context.compiled = std::move(std::get<CompiledCandidate>(result));

  Examination& examination = context.examination;
  examination.descriptors =
      describe(context.compiled, plans_at_known_shapes(context), context.device, sizes_of_tensors(context));
  examination.counts = count_opcodes(context.compiled.ptx);
  examination.counts.sass = context.compiled.sass;
  examination.code_digest = context.compiled.code_digest;
  examination.machine_code = context.compiled.machine_code;
  examination.notes = context.compiled.advisories;
  examination.stage_ms = context.compiled.stage_ms;
  std::set<std::string> shown;
  for (std::size_t i = 0; i < context.points.size(); ++i) {
    // What is launched at hold-out shapes alone would tell about them.
    if (context.points[i].use == PointUse::hold_out) continue;
    for (const PlannedLaunch& launch : context.compiled.plans[i].launches) shown.insert(launch.kernel);
    if (context.points[i].use == PointUse::bench) {
      examination.plans[context.points[i].workload.name] = context.compiled.plans[i];
    }
  }
  report.counts["kernels"] = static_cast<std::int64_t>(context.compiled.kernels.size());
  for (const KernelResources& kernel : context.compiled.kernels) {
    if (shown.contains(kernel.kernel)) examination.kernels.push_back(kernel);
  }
  return std::nullopt;
}

}  // namespace kernelites::worker
