// SPDX-License-Identifier: Apache-2.0
// How near a time is to what the device can do at best: rates, the floor that no kernel goes below, and what sets it.
#pragma once

#include <map>
#include <string>
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

/// The time below which no kernel gets: the highest roof, or a launch that does nothing, where that was measured and is
/// longer.
struct Floor {
  double us = 0;           ///< 0: the device's peaks are not known
  double launch_us = 0;    ///< of a launch that does nothing
  std::string_view limit;  ///< what it is: the highest roof's resource, or "launch"
};
Floor floor_of(const RooflineCounts& counts, const DeviceFacts& device);

/// How many times an algorithm must go over its data, by the task ("passes" of its roofline): a softmax needs the sums
/// of a row before it can write the row. The lower bound of the cascade of einsums (FuseMax, Nayak et al. 2024).
int passes_of(const Task& task);

/// Bytes that passes after the first must fetch from memory: of each piece of the data that is gone over as a whole (a
/// row; "pass_pieces" of "pass_bytes" each) what is more than L2, registers and shared memory of the device hold
/// together. One piece may have all of them: no order of the work needs less.
double reloaded_bytes(const Task& task, const Workload& workload, const DeviceFacts& device);

/// What one call must do on this device: the task's formulas, with what must be reloaded among the bytes.
RooflineCounts counts_on(const DeviceFacts& device, const Task& task, const Workload& workload,
                         const std::map<std::string, double>& sums = {});

/// A time that no right kernel goes below at `workload`, in microseconds: less means that work was skipped. 0: unknown.
/// `sums` are of the metadata that was timed (`roofline_counts`). Unlike the highest roof it grants what is legitimate:
/// outputs that are still in the L2 at the end, products in 8 bits of 8-bit inputs, exponentials as polynomials.
double impossible_below_us(const Task& task, const Workload& workload, const DeviceFacts& device,
                           const std::map<std::string, double>& sums);

/// Rates that one call reaches, counting only the compulsory work of the task's roofline formulas.
struct RooflineShare {
  double gb_per_s = 0;  ///< compulsory bytes / time
  double tflop_per_s = 0;
  double of_memory = 0;    ///< gb_per_s / the device's copy rate; 0: the rate is unknown
  double floor_us = 0;     ///< as floor_of
  double launch_us = 0;    ///< as Floor
  double of_floor = 0;     ///< floor_us / time: 1 is the best possible
  std::string_view limit;  ///< likewise
};

/// REQUIRES: time_us > 0, else everything is 0.
RooflineShare roofline_share(const RooflineCounts& counts, const DeviceFacts& device, double time_us);

}  // namespace kernelites
