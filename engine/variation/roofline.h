// SPDX-License-Identifier: Apache-2.0
// How near a time is to what the device can do at best: bandwidth, arithmetic rate and their shares.
#pragma once

#include "engine/core/device_facts.h"
#include "engine/core/task.h"

namespace kernelites {

/// Rates that one call reaches, counting only the compulsory work of the task's roofline formulas.
struct RooflineShare {
  double gb_per_s = 0;  ///< compulsory bytes / time
  double tflop_per_s = 0;
  double of_memory = 0;  ///< gb_per_s / the device's copy rate; 0: the rate is unknown
};

/// REQUIRES: time_us > 0, else everything is 0.
RooflineShare roofline_share(const RooflineCounts& counts, const DeviceFacts& device, double time_us);

}  // namespace kernelites
