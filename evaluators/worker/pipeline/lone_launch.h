// SPDX-License-Identifier: Apache-2.0
// Role "lone": one plan, once, in a process and on a device of its own, for tools that watch a whole process.
//
// It does not enter the jail, whose filter a tool would not survive; what it runs has been screened, sanitized and
// checked. Two messages come: the image (child_messages.h), then {device, plan, lowered, tensors: [{name, bytes,
// is_written}]} with the contents of the tensors that are not written as payload. Reply: {ok} or a fault.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "evaluators/worker/device/device.h"
#include "evaluators/worker/sandbox/channel.h"

namespace kernelites::worker {

inline constexpr const char* k_lone_role = "lone";

int lone_launch_main(Channel& channel);

/// A tensor of a lone launch; outputs have no contents.
struct LoneTensor {
  std::string name;
  std::int64_t bytes = 0;
  std::vector<std::byte> contents;
};

/// How a lone launch ended.
struct LoneOutcome {
  std::optional<DeviceFault> fault;  ///< of the device, or "child_died" and "deadline" as of any child
  int exit_code = -1;                ///< of the tool; -1: a signal
};

/// Runs the plan under `tool` (empty: without one) and waits for its end, at most `deadline_s`.
LoneOutcome launch_alone(const std::vector<std::string>& tool, const std::string& device,
                         const ModuleImage& image, const LaunchPlan& plan,
                         const std::map<std::string, std::string>& lowered,
                         const std::vector<LoneTensor>& tensors, double deadline_s);

}  // namespace kernelites::worker
