// SPDX-License-Identifier: Apache-2.0
// A profile in words: what the examination knows of a kernel's resources, occupancy, launches and time limits.
#pragma once

#include <string>

#include "engine/variation/operator.h"

namespace kernelites {

/// Blocks of a launch that fit on one SM together, and what keeps more from fitting ("registers", "shared memory",
/// "threads", "blocks"). From the CUDA programming guide's table of technical specifications, sm_80 to sm_90.
struct Occupancy {
  int blocks_per_sm = 0;
  std::string limit;
};
Occupancy occupancy_of(const KernelResources& kernel, const PlannedLaunch& launch, const DeviceFacts& device);

/// Registers, spills and shared memory by kernel; opcode counts of the compiled code; per timed workload the launches
/// with blocks per SM and waves, and how the time stands to what memory alone would need. Says what was measured and
/// what was modelled; hardware counters where they were read, else why not.
std::string profile_text(const Task& task, const DeviceFacts& device, const Specimen& specimen);

}  // namespace kernelites
