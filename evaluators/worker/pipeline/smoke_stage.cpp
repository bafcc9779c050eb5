// SPDX-License-Identifier: Apache-2.0
// Stage smoke: two small shapes in a fresh executor; whatever faults, hangs or dies ends
// here.
#include <algorithm>

#include "evaluators/worker/pipeline/evaluation_context.h"

namespace kernelites::worker {
namespace {

constexpr int k_smoke_shapes = 2;
constexpr double k_smoke_s_max = 5;

}  // namespace

std::optional<Verdict> run_smoke_stage(EvaluationContext& context) {
  context.station.emplace(context.stations.take());
  const auto start = std::chrono::steady_clock::now();
  Station& station = **context.station;
  context.executor = station.take_executor();
  ExecutorClient* const executor = context.executor.get();
  context.module = executor->load(image_of(context.compiled));
  int done = 0;
  for (std::size_t i = 0; i < context.points.size() && done < k_smoke_shapes && !executor->fault(); ++i) {
    if (context.points[i].use != PointUse::check) continue;
    WorkloadSession session(station.referee(), *executor, context.task, context.points[i].workload);
    session.fill(context.task.families.front(), 0, context.request.key.derive("smoke", i));
    const int arm = session.add_arm(context.module, context.compiled.plans[i], context.compiled.lowered);
    session.run(arm, RunMode::full, context.request.key.derive("poison", i).seed(), done % k_poison_kinds,
                k_smoke_s_max);
    ++done;
  }
  context.device_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (executor->fault()) return fault_verdict("smoke", *executor->fault());
  return std::nullopt;
}

}  // namespace kernelites::worker
