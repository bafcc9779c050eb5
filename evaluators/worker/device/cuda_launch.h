// SPDX-License-Identifier: Apache-2.0
// A bound launch made ready for the driver: everything that takes time or can be refused happens before the
// events.
#pragma once

#include <optional>
#include <vector>

#include "evaluators/worker/device/cuda_modules.h"

namespace kernelites::worker {

/// What cuLaunchKernelEx takes. Borrows the bytes of the BoundLaunch that it was made of.
struct PreparedLaunch {
  cuda::Function function = nullptr;
  cuda::LaunchConfiguration configuration;
  std::vector<cuda::LaunchAttribute> attributes;
  std::vector<cuda::EncodedTensorMap> tensor_maps;
  std::vector<void*> parameters;
};

/// Resolves the kernel, checks it against the launch, sets its attributes and encodes its tensor maps. A
/// fault, `invalid_launch`, says what the driver or the kernel would not take; nothing has been launched
/// then. `may_overlap`: programmatic dependent launch is honoured; false for the first launch of a timed
/// sequence, which must not begin before the start event.
std::optional<DeviceFault> prepare_launch(const CudaLibrary& cuda, CudaModules& modules,
                                          const BoundLaunch& launch, cuda::Stream stream, bool may_overlap,
                                          PreparedLaunch& prepared);

/// Hands the launch to the driver.
cuda::Result enqueue(const CudaLibrary& cuda, PreparedLaunch& prepared);

/// The fault code of a driver result: "illegal_address", "misaligned", "launch_failed", ...
const char* fault_reason(cuda::Result result);
/// Whether the context can go on after `result`: the launch was refused, nothing ran.
bool is_refusal(cuda::Result result);

}  // namespace kernelites::worker
