// SPDX-License-Identifier: Apache-2.0
// Judges a plan before anything is launched: every wrong plan becomes a verdict that a model can act on.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "engine/core/device_facts.h"
#include "engine/core/launch_plan.h"
#include "engine/core/task.h"
#include "engine/core/verdict.h"
#include "evaluators/worker/contract/compiled_candidate.h"
#include "evaluators/worker/contract/defences.h"
#include "evaluators/worker/contract/problem_source.h"

namespace kernelites::worker {

/// Judges `plan` by itself: shape supported, limits, workspaces, tensor maps, prepare rules, outputs reached.
/// The message names the workload unless the point is hidden.
std::optional<Verdict> check_plan(const LaunchPlan& plan, const Task& task, Form form, const PlanPoint& point,
                                  const DeviceFacts& device, const Defences& defences = {});

/// Judges `plan` against the compiled kernels: known names, argument counts and sizes, launch bounds,
/// required cluster, static plus dynamic shared memory.
std::optional<Verdict> check_plan_against_code(const LaunchPlan& plan, const Task& task, Form form,
                                               const std::map<std::string, KernelSignature>& signatures,
                                               const std::map<std::string, KernelResources>& resources,
                                               const DeviceFacts& device);

}  // namespace kernelites::worker
