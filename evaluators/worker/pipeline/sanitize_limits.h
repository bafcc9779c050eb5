// SPDX-License-Identifier: Apache-2.0
// What a fault of the virtual GPU means for a candidate that another device is waiting for.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "evaluators/worker/device/device.h"

namespace kernelites::worker {

/// Whether the fault says that the virtual GPU does not execute, read or launch what newer devices have. On devices
/// that it knows, it speaks of the candidate: one such instruction, executed once for nothing, would be enough to be
/// rid of every check.
bool is_unknown_code(const DeviceFault& fault, const DeviceFacts& device);

/// Whether the fault is the end of a process, in which there is no line to look for.
bool is_process_end(const DeviceFault& fault);

/// What looks at a candidate on the virtual GPU came to.
struct Look {
  std::optional<DeviceFault> fault;
  std::string first_end;  ///< what a first process ended with, if a second one did not
};

/// `look` runs a candidate in a fresh process. Where that comes to an end (for want of memory, say), it looks once
/// more, if `may_repeat`: what ends two of them is the candidate's own, which would be rid of every check otherwise.
Look look_until_sure(const std::function<std::optional<DeviceFault>()>& look,
                     const std::function<bool()>& may_repeat);

}  // namespace kernelites::worker
