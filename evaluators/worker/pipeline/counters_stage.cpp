// SPDX-License-Identifier: Apache-2.0
// Stage counters: hardware counters of would-be elites at the bench workloads, in a process that times nothing; no
// stage of other examinations, nor on the virtual GPU.
//
// It tells and never fails a candidate: devices that forbid counters are common, and what a counter proves is proven by
// the gates of other stages as well.
#include <fmt/format.h>

#include <algorithm>

#include "evaluators/worker/pipeline/evaluation_context.h"
#include "evaluators/worker/pipeline/profile.h"

namespace kernelites::worker {

std::optional<Verdict> run_counters_stage(EvaluationContext& context) {
  StageReport& report = context.report();
  report.outcome = "unchecked";
  std::map<std::string, CounterReport>& counters = context.examination.counters;
  const auto heaviest =
      std::max_element(context.task.bench.begin(), context.task.bench.end(),
                       [](const Workload& a, const Workload& b) { return a.weight < b.weight; });
  counters = count_workloads(**context.station, {.task = context.task,
                                                 .compiled = context.compiled,
                                                 .plans = context.examination.plans,
                                                 .explained = heaviest->name,
                                                 .key = context.request.key.derive("counters"),
                                                 .deadline_s = context.seconds_left()});
  std::int64_t read = 0;
  for (const auto& [workload, counted] : counters) {
    read += static_cast<std::int64_t>(counted.readings.size());
    if (!counted.problem.empty()) report.remark = counted.problem;
  }
  if (read == 0) return std::nullopt;
  report.outcome = "passed";
  report.counts["counters"] = read;
  report.counts["shapes"] = static_cast<std::int64_t>(counters.size());
  if (report.remark.empty()) report.remark = "read in a process of their own, caches cold";
  return std::nullopt;
}

}  // namespace kernelites::worker
