// SPDX-License-Identifier: Apache-2.0
// What a kind of device can do at best, by its maker's figures: the bounds that no kernel beats.
#pragma once

#include <span>
#include <string_view>

#include "engine/core/device_facts.h"

namespace kernelites {

/// Rates at the highest clock. Per cycle and SM unless said.
struct DevicePeaks {
  std::string_view kind;          ///< part of the driver's name of the device
  double clock_ghz = 0;           ///< the highest that the driver sets
  double tensor_flops = 0;        ///< dense, 16-bit operands, float accumulation
  double special_operations = 0;  ///< exponentials and their like
  double memory_gb_per_s = 0;     ///< of the device
  double launch_us = 0;           ///< between the events around a kernel that does nothing; 0: not measured
};

/// All rows; the first match counts.
std::span<const DevicePeaks> device_peaks();

/// The row of a device, or null if its kind is not in the table. The virtual GPU has that of the device it models.
const DevicePeaks* peaks_of(const DeviceFacts& device);

}  // namespace kernelites
