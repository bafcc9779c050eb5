// SPDX-License-Identifier: Apache-2.0
// The list of devices, and the two parts of a name.
#include "engine/core/device_names.h"

#include <algorithm>

namespace kernelites {

std::vector<std::string> device_names() { return {"auto", "gpu", "vgpu", "vgpu:h100", "vgpu:rtx4090"}; }

bool is_device_name(std::string_view name) {
  const std::vector<std::string> names = device_names();
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string device_kind(std::string_view name) { return std::string(name.substr(0, name.find(':'))); }

std::string device_profile(std::string_view name) {
  const std::size_t colon = name.find(':');
  return colon == std::string_view::npos ? "" : std::string(name.substr(colon + 1));
}

}  // namespace kernelites
