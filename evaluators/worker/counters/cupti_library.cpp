// SPDX-License-Identifier: Apache-2.0
// Finding and resolving CUPTI.
#include "evaluators/worker/counters/cupti_library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

namespace fs = std::filesystem;

constexpr const char* k_sub_folders[] = {"lib64", "lib", "extras/CUPTI/lib64", "cuda_cupti/lib", "cu13/lib"};
constexpr const char* k_file_names[] = {"libcupti.so.13", "libcupti.so.12", "libcupti.so"};

void* open_in(const fs::path& folder) {
  for (const char* name : k_file_names) {
    // Its own companion, libnvperf_host, lies beside it and is found by CUPTI's run path.
    if (void* library = ::dlopen((folder / name).c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  }
  return nullptr;
}

void* open_library(const std::vector<fs::path>& folders) {
  for (const fs::path& folder : folders) {
    for (const char* sub : k_sub_folders) {
      if (void* library = open_in(folder / sub)) return library;
    }
  }
  for (const char* name : k_file_names) {
    if (void* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  }
  throw Error("no CUPTI: libcupti.so is in none of the toolkit's folders");
}

template <typename FunctionPointer>
void resolve(void* library, const char* symbol, FunctionPointer& target) {
  target = reinterpret_cast<FunctionPointer>(::dlsym(library, symbol));
  if (!target) throw Error(fmt::format("CUPTI is older than 12.6: it has no {}", symbol));
}

}  // namespace

std::string CuptiLibrary::words(Result result) const {
  const char* name = nullptr;
  if (result_string(result, &name) != cupti::k_success || !name) name = "unknown error";
  if (result != cupti::k_insufficient_privileges) return name;
  return fmt::format(
      "{}: counters need root, CAP_SYS_ADMIN, or the driver option NVreg_RestrictProfilingToAdminUsers=0",
      name);
}

CuptiLibrary open_cupti(const std::vector<fs::path>& folders) {
  void* const library = open_library(folders);
  CuptiLibrary cupti;
  resolve(library, "cuptiGetResultString", cupti.result_string);
  resolve(library, "cuptiProfilerInitialize", cupti.profiler_initialize);
  resolve(library, "cuptiProfilerDeviceSupported", cupti.device_supported);
  resolve(library, "cuptiDeviceGetChipName", cupti.get_chip_name);
  resolve(library, "cuptiProfilerGetCounterAvailability", cupti.get_counter_availability);
  resolve(library, "cuptiProfilerHostInitialize", cupti.host_initialize);
  resolve(library, "cuptiProfilerHostDeinitialize", cupti.host_deinitialize);
  resolve(library, "cuptiProfilerHostConfigAddMetrics", cupti.config_add_metrics);
  resolve(library, "cuptiProfilerHostGetConfigImageSize", cupti.get_config_image_size);
  resolve(library, "cuptiProfilerHostGetConfigImage", cupti.get_config_image);
  resolve(library, "cuptiProfilerHostGetNumOfPasses", cupti.get_pass_count);
  resolve(library, "cuptiProfilerHostEvaluateToGpuValues", cupti.evaluate);
  resolve(library, "cuptiRangeProfilerEnable", cupti.range_enable);
  resolve(library, "cuptiRangeProfilerDisable", cupti.range_disable);
  resolve(library, "cuptiRangeProfilerSetConfig", cupti.range_set_config);
  resolve(library, "cuptiRangeProfilerStart", cupti.range_start);
  resolve(library, "cuptiRangeProfilerStop", cupti.range_stop);
  resolve(library, "cuptiRangeProfilerPushRange", cupti.range_push);
  resolve(library, "cuptiRangeProfilerPopRange", cupti.range_pop);
  resolve(library, "cuptiRangeProfilerDecodeData", cupti.range_decode);
  resolve(library, "cuptiRangeProfilerGetCounterDataSize", cupti.range_data_size);
  resolve(library, "cuptiRangeProfilerCounterDataImageInitialize", cupti.range_data_initialize);
  return cupti;
}

void check_cupti(const CuptiLibrary& library, cupti::Result result, const char* call) {
  if (result == cupti::k_success) return;
  throw Error(fmt::format("CUPTI: {} failed: {}", call, library.words(result)));
}

}  // namespace kernelites::worker
