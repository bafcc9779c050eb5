// SPDX-License-Identifier: Apache-2.0
// Finding and resolving NVML.
#include "evaluators/worker/health/nvml_library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

template <typename FunctionPointer>
void resolve_nvml(void* library, const char* symbol, FunctionPointer& target) {
  target = reinterpret_cast<FunctionPointer>(::dlsym(library, symbol));
}

}  // namespace

NvmlLibrary open_nvml() {
  void* const library = ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) throw Error(fmt::format("no NVML: {}", ::dlerror()));
  NvmlLibrary nvml;
  resolve_nvml(library, "nvmlInit_v2", nvml.init);
  resolve_nvml(library, "nvmlDeviceGetHandleByPciBusId_v2", nvml.device_by_bus_id);
  resolve_nvml(library, "nvmlErrorString", nvml.error_string);
  if (!nvml.init || !nvml.device_by_bus_id || !nvml.error_string)
    throw Error("NVML is too old: it has no nvmlDeviceGetHandleByPciBusId_v2");
  resolve_nvml(library, "nvmlDeviceGetCurrentClocksThrottleReasons", nvml.throttle_reasons);
  resolve_nvml(library, "nvmlDeviceGetTemperature", nvml.temperature);
  resolve_nvml(library, "nvmlDeviceGetTotalEccErrors", nvml.ecc_errors);
  resolve_nvml(library, "nvmlDeviceGetRemappedRows", nvml.remapped_rows);
  resolve_nvml(library, "nvmlDeviceGetComputeRunningProcesses_v3", nvml.compute_processes);
  resolve_nvml(library, "nvmlDeviceGetProcessUtilization", nvml.process_utilization);
  resolve_nvml(library, "nvmlDeviceGetMigMode", nvml.mig_mode);
  resolve_nvml(library, "nvmlEventSetCreate", nvml.event_set_create);
  resolve_nvml(library, "nvmlDeviceRegisterEvents", nvml.register_events);
  resolve_nvml(library, "nvmlEventSetWait_v2", nvml.event_set_wait);
  const nvml::Result result = nvml.init();
  if (result != nvml::k_success)
    throw Error(fmt::format("NVML cannot be used: {}", nvml.error_string(result)));
  return nvml;
}

}  // namespace kernelites::worker
