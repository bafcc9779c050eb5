// SPDX-License-Identifier: Apache-2.0
// The table of devices.
#include "engine/core/device_peaks.h"

#include <algorithm>

namespace kernelites {
namespace {

// NVIDIA's data sheets and architecture white papers: A100 (GA100, 2020), H100 (GH100, 2022), H200 (2023), AD102
// (2022). Tensor rates follow from their TFLOP/s, boost clock and number of SMs; special functions from the throughput
// table of the CUDA programming guide. Clocks are the highest that the cards run at, above the sheets' boost clock.
constexpr double k_h100_launch_us = 3.0;  // docs/measurement.md, "Roofline"
constexpr DevicePeaks k_peaks[] = {
    {"H100 PCIe", 1.755, 4096, 16, 2039},     {"H100 NVL", 1.785, 4096, 16, 3938},
    {"H200", 1.98, 4096, 16, 4800},           {"H100", 1.98, 4096, 16, 3352, k_h100_launch_us},
    {"A100-SXM4-40GB", 1.41, 2048, 16, 1555}, {"A100", 1.41, 2048, 16, 2039},
    {"RTX 4090", 3.105, 512, 16, 1008},
};

}  // namespace

std::span<const DevicePeaks> device_peaks() { return k_peaks; }

const DevicePeaks* peaks_of(const DeviceFacts& device) {
  const auto* const found = std::find_if(std::begin(k_peaks), std::end(k_peaks), [&](const DevicePeaks& row) {
    return device.kind.find(row.kind) != std::string::npos;
  });
  return found == std::end(k_peaks) ? nullptr : found;
}

}  // namespace kernelites
