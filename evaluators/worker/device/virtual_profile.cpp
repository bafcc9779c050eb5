// SPDX-License-Identifier: Apache-2.0
// The profiles. Limits: CUDA programming guide, "technical specifications per compute capability", 9.0 and 8.9; sizes:
// white papers GH100 (2022) and AD102 (2022); copy rates as the time model has them (modelled_devices.cpp).
#include "evaluators/worker/device/virtual_profile.h"

#include <fmt/format.h>

#include "engine/core/error.h"
#include "evaluators/worker/device/virtual_facts.h"

namespace kernelites::worker {
namespace {

DeviceFacts rtx4090_facts() {
  DeviceFacts facts{.kind = "vgpu (models RTX 4090)",
                    .is_virtual = true,
                    .architecture = "sm_89",
                    .compute_capability = 89,
                    .sm_count = 128,
                    .shared_bytes_per_block_max = 99 * 1024};
  facts.l2_bytes = 72 << 20;
  facts.memory_bytes = std::int64_t{24} << 30;
  facts.memory_gb_per_s = 930;
  return facts;
}

const vgpu::ModelledDevice* times_of(std::string_view name) {
  for (const vgpu::ModelledDevice& device : vgpu::modelled_devices())
    if (device.name == name) return &device;
  throw Error(fmt::format("the time model knows no {}", name));
}

}  // namespace

VirtualProfile virtual_profile(std::string_view name) {
  if (name.empty() || name == "h100") return {"h100", virtual_facts(), times_of(vgpu::k_h100.name)};
  if (name == "rtx4090") return {"rtx4090", rtx4090_facts(), times_of("RTX 4090")};
  throw Error(fmt::format("the virtual GPU models no '{}'; known: h100, rtx4090", name));
}

std::string_view profile_of(const DeviceFacts& device) {
  const auto is_kind = [&](std::string_view words) { return device.kind.find(words) != std::string::npos; };
  if (is_kind("RTX 4090")) return "rtx4090";
  // The others of the name have fewer multiprocessors or another memory.
  return is_kind("H100") && !is_kind("PCIe") && !is_kind("NVL") ? "h100" : "";
}

std::unique_ptr<Device> make_vgpu_device(unsigned threads, VgpuChecks checks) {
  return make_vgpu_like(virtual_profile(""), threads, checks);
}

}  // namespace kernelites::worker
