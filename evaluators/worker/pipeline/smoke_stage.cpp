// SPDX-License-Identifier: Apache-2.0
// Stage smoke: the first launches on the device, in a fresh executor; whatever faults, hangs or dies ends here.
//
// Two small shapes, each launched twice in the same executor with other contents the second time: what only works once,
// or only with the values it saw first, shows before anything is compared.
#include "evaluators/worker/pipeline/evaluation_context.h"

namespace kernelites::worker {
namespace {

constexpr std::size_t k_smoke_shapes = 2;
constexpr std::size_t k_smoke_launches = 2;

}  // namespace

std::optional<Verdict> run_smoke_stage(EvaluationContext& context) {
  context.take_device();
  const std::size_t families = context.task.families.size();
  std::size_t shapes = 0;
  for (std::size_t i = 0; i < context.points.size() && shapes < k_smoke_shapes; ++i) {
    if (context.points[i].use != PointUse::check || context.executor->fault()) continue;
    WorkloadSession session((*context.station)->referee(), *context.executor, context.task,
                            context.points[i].workload);
    const int arm = session.add_arm(context.module, context.compiled.plans[i], context.compiled.lowered);
    for (std::size_t launch = 0; launch < k_smoke_launches; ++launch) {
      const Key key = context.request.key.derive("smoke", i * k_smoke_launches + launch);
      session.fill(context.task.families[launch % families], launch, key);
      session.run({.plan = arm,
                   .poison_seed = key.derive("poison").seed(),
                   .poison_kind = static_cast<int>((shapes + launch) % k_poison_kinds),
                   .deadline_s = run_deadline_s(context.device, PointUse::check),
                   .checks_races = true});
      context.report().counts["launches"] += 1;
    }
    context.report().counts["shapes"] = static_cast<std::int64_t>(++shapes);
  }
  context.report().remark = "first launches in a fresh executor, outputs and workspaces poisoned";
  if (context.executor->fault()) return fault_verdict("smoke", *context.executor->fault());
  return std::nullopt;
}

}  // namespace kernelites::worker
