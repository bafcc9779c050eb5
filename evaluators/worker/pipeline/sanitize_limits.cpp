// SPDX-License-Identifier: Apache-2.0
// Reasons of faults, by whom they speak of.
#include "evaluators/worker/pipeline/sanitize_limits.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

namespace kernelites::worker {
namespace {

/// Devices up to this compute capability have no instruction that candidates need and the virtual GPU does not execute.
constexpr int k_executed_capability = 90;

constexpr std::array<std::string_view, 3> k_unknown{"unsupported_instruction", "invalid_launch",
                                                    "module_rejected"};
constexpr std::array<std::string_view, 3> k_process_ended{"child_died", "deadline", "error"};

bool is_one_of(const DeviceFault& fault, std::span<const std::string_view> reasons) {
  return std::find(reasons.begin(), reasons.end(), fault.reason) != reasons.end();
}

}  // namespace

bool is_unknown_code(const DeviceFault& fault, const DeviceFacts& device) {
  return device.compute_capability > k_executed_capability && is_one_of(fault, k_unknown);
}

std::optional<DeviceFault> fault_when_sure(const std::function<std::optional<DeviceFault>()>& look) {
  const std::optional<DeviceFault> fault = look();
  return fault && is_one_of(*fault, k_process_ended) ? look() : fault;
}

}  // namespace kernelites::worker
