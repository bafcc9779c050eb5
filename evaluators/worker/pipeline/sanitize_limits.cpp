// SPDX-License-Identifier: Apache-2.0
// Reasons of faults, by whom they speak of.
#include "evaluators/worker/pipeline/sanitize_limits.h"

namespace kernelites::worker {
namespace {

/// Devices up to this compute capability have no instruction that candidates need and the virtual GPU does not execute.
constexpr int k_executed_capability = 90;

}  // namespace

bool is_unknown_code(const DeviceFault& fault, const DeviceFacts& device) {
  return device.compute_capability > k_executed_capability &&
         (fault.reason == "unsupported_instruction" || fault.reason == "invalid_launch" ||
          fault.reason == "module_rejected");
}

bool is_process_end(const DeviceFault& fault) {
  return fault.reason == "child_died" || fault.reason == "deadline";
}

Look look_until_sure(const std::function<std::optional<DeviceFault>()>& look,
                     const std::function<bool()>& may_repeat) {
  Look first{.fault = look(), .first_end = ""};
  if (!first.fault || !is_process_end(*first.fault) || !may_repeat()) return first;
  Look second{.fault = look(), .first_end = ""};
  if (!second.fault || !is_process_end(*second.fault)) second.first_end = first.fault->message;
  return second;
}

}  // namespace kernelites::worker
