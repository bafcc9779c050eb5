// SPDX-License-Identifier: Apache-2.0
// Roofs and shares of them.
#include "engine/core/roofline.h"

#include <algorithm>

#include "engine/core/device_peaks.h"

namespace kernelites {

std::vector<Roof> roofs(const RooflineCounts& counts, const DeviceFacts& device) {
  const DevicePeaks* const peaks = peaks_of(device);
  if (!peaks) return {};
  const double cycles_per_us = peaks->clock_ghz * 1e3 * device.sm_count;  // of all SMs together
  std::vector<Roof> roofs{
      {"memory", counts.bytes / (peaks->memory_gb_per_s * 1e3)},
      {"tensor cores", counts.flops / (peaks->tensor_flops * cycles_per_us)},
      {"special functions", counts.exponentials / (peaks->special_operations * cycles_per_us)}};
  std::stable_sort(roofs.begin(), roofs.end(),
                   [](const Roof& a, const Roof& b) { return a.time_us > b.time_us; });
  return roofs;
}

RooflineShare roofline_share(const RooflineCounts& counts, const DeviceFacts& device, double time_us) {
  RooflineShare share;
  if (time_us <= 0) return share;
  share.gb_per_s = counts.bytes / time_us * 1e-3;
  share.tflop_per_s = counts.flops / time_us * 1e-6;
  if (device.memory_gb_per_s > 0) share.of_memory = share.gb_per_s / device.memory_gb_per_s;
  const std::vector<Roof> all = roofs(counts, device);
  if (all.empty()) return share;
  share.floor_us = all.front().time_us;
  share.of_floor = share.floor_us / time_us;
  share.limit = all.front().resource;
  return share;
}

}  // namespace kernelites
