// SPDX-License-Identifier: Apache-2.0
// Devices that the virtual GPU can model: limits that plans and compilers see, and times.
#pragma once

#include <memory>
#include <string_view>

#include "evaluators/worker/device/device.h"
#include "evaluators/worker/vgpu/time_model.h"

namespace kernelites::worker {

struct VirtualProfile {
  std::string_view name;  ///< "rtx4090"
  DeviceFacts facts;
  const vgpu::ModelledDevice* times = nullptr;
};

/// "h100" (also under the empty name) or "rtx4090". Throws Error for any other.
VirtualProfile virtual_profile(std::string_view name);

/// The name of the profile that models this device, a virtual one or a real one; empty where none does.
std::string_view profile_of(const DeviceFacts& device);

/// The virtual GPU with another profile than the H100's. Instructions that the modelled device lacks do not compile for
/// it.
std::unique_ptr<Device> make_vgpu_like(const VirtualProfile& profile, unsigned threads, VgpuChecks checks);

}  // namespace kernelites::worker
