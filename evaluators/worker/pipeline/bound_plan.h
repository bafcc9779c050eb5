// SPDX-License-Identifier: Apache-2.0
// A plan with addresses: what a device can launch.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "evaluators/worker/device/device.h"

namespace kernelites::worker {

/// Where the names and addresses of a plan come from.
struct Binding {
  ModuleId module = 0;
  const std::map<std::string, std::string>& lowered_names;  ///< name expression -> symbol
  const std::vector<Buffer>& tensors;                       ///< in the order of the task's tensors
  const std::vector<Buffer>& workspaces;
};

/// Resolves all launches of `plan`. Throws Error if the plan refers to what the binding lacks: plans are
/// checked before (plan_check), so that would be a fault of the supervisor.
std::vector<BoundLaunch> bind_plan(const LaunchPlan& plan, const Binding& binding);

}  // namespace kernelites::worker
