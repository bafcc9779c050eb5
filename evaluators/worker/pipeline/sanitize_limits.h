// SPDX-License-Identifier: Apache-2.0
// What a fault of the virtual GPU means for a candidate that another device is waiting for.
#pragma once

#include <functional>
#include <optional>

#include "evaluators/worker/device/device.h"

namespace kernelites::worker {

/// Whether the fault says that the virtual GPU does not execute, read or launch what newer devices have. On devices
/// that it knows, it speaks of the candidate: one such instruction, executed once for nothing, would be enough to be
/// rid of every check.
bool is_unknown_code(const DeviceFault& fault, const DeviceFacts& device);

/// The fault of `look`, which runs a candidate on the virtual GPU in a fresh process. Where that process came to an end
/// (for want of memory, say), it looks once more: what ends two of them is the candidate's own, which would be rid of
/// every check otherwise.
std::optional<DeviceFault> fault_when_sure(const std::function<std::optional<DeviceFault>()>& look);

}  // namespace kernelites::worker
