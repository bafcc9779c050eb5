// SPDX-License-Identifier: Apache-2.0
// Counters of a compiled candidate at bench workloads: for the verb `profile` and for would-be elites.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/core/counter_report.h"
#include "evaluators/worker/contract/compiled_candidate.h"
#include "evaluators/worker/pipeline/reference_library.h"
#include "evaluators/worker/pipeline/station.h"

namespace kernelites::worker {

/// What is counted. Borrows its members.
struct CountOrder {
  const Task& task;
  const CompiledCandidate& compiled;
  const std::map<std::string, LaunchPlan>& plans;  ///< by bench workload; each of them is counted
  std::string
      explained;  ///< of this workload all groups are read, of the others the physics alone; empty: of none
  Key key;
  double deadline_s = 60;
};

/// One report for each plan. Starts a process of its own for it. REQUIRES: the station's referee knows the task's
/// computed inputs, if there are any. Throws nothing for what cannot be counted.
std::map<std::string, CounterReport> count_workloads(Station& station, const CountOrder& order);

}  // namespace kernelites::worker
