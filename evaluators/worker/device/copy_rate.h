// SPDX-License-Identifier: Apache-2.0
// The measured copy rate of a device's memory: the denominator of "how close to the roofline".
#pragma once

#include "evaluators/worker/device/device.h"

namespace kernelites::worker {

/// A rate with its spread, in GB/s (10^9 bytes; read and written bytes both count).
struct CopyRate {
  double gb_per_s_median = 0;
  double gb_per_s_p10 = 0;
  double gb_per_s_p90 = 0;
  int samples = 0;
};

/// Copies 512 MiB, far more than any L2, `samples` times and takes the median. Throws Error if the device
/// fails. REQUIRES: a real device, 1 GiB of free memory, samples >= 10.
CopyRate measure_copy_rate(Device& device, int samples = 20);

}  // namespace kernelites::worker
