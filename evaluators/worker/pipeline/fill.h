// SPDX-License-Identifier: Apache-2.0
// Input families as data: which values a fill kind draws, on the device or (metadata) on the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/core/task.h"

namespace kernelites::worker {

/// A fill as `harness_fill` takes it: the kind's row in engine/core/fill_kind.cpp and its two parameters.
struct DeviceFill {
  int kind = 0;
  float p0 = 0;
  float p1 = 0;
};

/// REQUIRES: parse_task accepted `fill` for an input.
DeviceFill device_fill(const Fill& fill);

/// The contents of a metadata tensor (i32 lengths), drawn on the host. REQUIRES: parse_task accepted `fill`
/// for it.
std::vector<std::byte> metadata_contents(const TensorSpec& tensor, const Fill& fill, const Workload& workload,
                                         std::uint64_t seed);

}  // namespace kernelites::worker
