// SPDX-License-Identifier: Apache-2.0
// The harness's own fills and comparisons on the host, for memory of the virtual GPU: the same source, not interpreted.
#pragma once

#include <string_view>

#include "evaluators/worker/device/device.h"

namespace kernelites::worker {

/// Whether `run_on_host` knows this kernel of the harness.
bool runs_on_host(std::string_view kernel);

/// Does what the launch would do, many times as fast as an interpreter: bit for bit, but for sums of doubles, which
/// are added in another order. Throws Error if memory that the launch names is not mapped.
/// REQUIRES: `runs_on_host` of the kernel; a virtual device.
void run_on_host(Device& device, const BoundLaunch& launch);

}  // namespace kernelites::worker
