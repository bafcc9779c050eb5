// SPDX-License-Identifier: Apache-2.0
// How near a time is to what the device can do at best: bandwidth, arithmetic rate and their shares.
#include "engine/variation/roofline.h"

namespace kernelites {

RooflineShare roofline_share(const RooflineCounts& counts, const DeviceFacts& device, double time_us) {
  RooflineShare share;
  if (time_us <= 0) return share;
  share.gb_per_s = counts.bytes / time_us * 1e-3;
  share.tflop_per_s = counts.flops / time_us * 1e-6;
  if (device.memory_gb_per_s > 0) share.of_memory = share.gb_per_s / device.memory_gb_per_s;
  return share;
}

}  // namespace kernelites
