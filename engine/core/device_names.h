// SPDX-License-Identifier: Apache-2.0
// Devices as users name them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kernelites {

/// "auto" (a GPU if there is one), "gpu", "vgpu", and the virtual GPU by the device that it models: "vgpu:h100" (as
/// "vgpu"), "vgpu:rtx4090".
std::vector<std::string> device_names();
bool is_device_name(std::string_view name);
/// What requests are for: "gpu" or "vgpu", whichever profile the latter has.
std::string device_kind(std::string_view name);
/// The device that a virtual one models: "rtx4090" of "vgpu:rtx4090"; empty where the name says none.
std::string device_profile(std::string_view name);

}  // namespace kernelites
