// SPDX-License-Identifier: Apache-2.0
// How near a time is to what the device can do at best: rates, the floor that no kernel goes below, and what sets it.
#pragma once

#include <string_view>
#include <vector>

#include "engine/core/device_facts.h"
#include "engine/core/task.h"

namespace kernelites {

/// What one resource needs for the compulsory work if it never pauses.
struct Roof {
  std::string_view resource;  ///< "memory", "tensor cores", "special functions"
  double time_us = 0;
};

/// The roofs of a call, the highest first (Williams et al. 2009, with the exponentials of attention as a resource of
/// their own). Empty for a device whose peaks are not known.
std::vector<Roof> roofs(const RooflineCounts& counts, const DeviceFacts& device);

/// Rates that one call reaches, counting only the compulsory work of the task's roofline formulas.
struct RooflineShare {
  double gb_per_s = 0;  ///< compulsory bytes / time
  double tflop_per_s = 0;
  double of_memory = 0;    ///< gb_per_s / the device's copy rate; 0: the rate is unknown
  double floor_us = 0;     ///< of the highest roof; 0: the device's peaks are not known
  double of_floor = 0;     ///< floor_us / time: 1 is the best possible
  std::string_view limit;  ///< the highest roof's resource
};

/// REQUIRES: time_us > 0, else everything is 0.
RooflineShare roofline_share(const RooflineCounts& counts, const DeviceFacts& device, double time_us);

}  // namespace kernelites
