// SPDX-License-Identifier: Apache-2.0
// Opening a device and closing everything else.
#include "evaluators/worker/pipeline/open_device.h"

#include <fmt/format.h>

#include "engine/core/device_names.h"
#include "engine/core/error.h"
#include "evaluators/worker/device/copy_rate.h"
#include "evaluators/worker/device/virtual_profile.h"
#include "evaluators/worker/sandbox/jail.h"

namespace kernelites::worker {

Defences defences_of(const Message& command) {
  return Defences(command.body.at("without").get<std::set<std::string, std::less<>>>());
}

std::unique_ptr<Device> open_device(const Message& command, Message& reply,
                                    const std::function<void()>& before_jail) {
  const auto kind = command.body.at("device").get<std::string>();
  const bool is_gpu = kind == "gpu";
  if (!is_gpu && device_kind(kind) != "vgpu")
    throw Error(fmt::format("unknown device '{}'; known: gpu, vgpu", kind));

  const Defences defences = defences_of(command);
  std::unique_ptr<Device> device;
  JailReport jail;
  if (is_gpu) {
    // The driver opens its files and starts its threads first; the jail covers what comes after.
    device = make_gpu_device();
    if (before_jail) before_jail();
    jail = enter_jail(gpu_jail());
  } else {
    jail = enter_jail(vgpu_jail());
    device = make_vgpu_like(
        virtual_profile(device_profile(kind)), command.body.at("threads").get<unsigned>(),
        {.uninitialised = defences.has("device:uninitialised"), .races = defences.has("device:race")});
  }
  if (!jail.is_sufficient()) throw Error(fmt::format("the jail is not complete: {}", jail.describe()));
  DeviceFacts facts = device->facts();
  if (is_gpu && command.body.value("measure", false))
    facts.memory_gb_per_s = measure_copy_rate(*device).gb_per_s_median;
  reply.body["facts"] = facts;
  reply.body["jail"] = jail.describe();
  return device;
}

}  // namespace kernelites::worker
