// SPDX-License-Identifier: Apache-2.0
// CUPTI opened at run time: where it lies, its entry points, its errors in words.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "evaluators/worker/counters/cupti_api.h"

namespace kernelites::worker {

/// CUPTI's entry points. Plain pointers: copy freely; the library stays open for the rest of the process's life.
struct CuptiLibrary {
  using Result = cupti::Result;

  Result (*result_string)(Result, const char**) = nullptr;
  Result (*profiler_initialize)(cupti::Initialize*) = nullptr;
  Result (*device_supported)(cupti::DeviceSupported*) = nullptr;
  Result (*get_chip_name)(cupti::GetChipName*) = nullptr;
  Result (*get_counter_availability)(cupti::GetCounterAvailability*) = nullptr;

  Result (*host_initialize)(cupti::HostInitialize*) = nullptr;
  Result (*host_deinitialize)(cupti::HostDeinitialize*) = nullptr;
  Result (*config_add_metrics)(cupti::ConfigAddMetrics*) = nullptr;
  Result (*get_config_image_size)(cupti::GetConfigImageSize*) = nullptr;
  Result (*get_config_image)(cupti::GetConfigImage*) = nullptr;
  Result (*get_pass_count)(cupti::GetPassCount*) = nullptr;
  Result (*evaluate)(cupti::EvaluateToGpuValues*) = nullptr;

  Result (*range_enable)(cupti::RangeEnable*) = nullptr;
  Result (*range_disable)(cupti::RangeCommand*) = nullptr;
  Result (*range_set_config)(cupti::RangeSetConfig*) = nullptr;
  Result (*range_start)(cupti::RangeCommand*) = nullptr;
  Result (*range_stop)(cupti::RangeStop*) = nullptr;
  Result (*range_push)(cupti::RangePush*) = nullptr;
  Result (*range_pop)(cupti::RangeCommand*) = nullptr;
  Result (*range_decode)(cupti::RangeDecode*) = nullptr;
  Result (*range_data_size)(cupti::RangeDataSize*) = nullptr;
  Result (*range_data_initialize)(cupti::RangeDataInitialize*) = nullptr;

  /// "CUPTI_ERROR_INSUFFICIENT_PRIVILEGES"; with what to do about it where that is known.
  std::string words(Result result) const;
};

/// Opens libcupti of one of `folders` (as toolkits have it: lib64, lib, extras/CUPTI/lib64), or what the linker finds.
/// Throws Error that says what is missing: the library, or an entry point (CUPTI is older than 12.6).
CuptiLibrary open_cupti(const std::vector<std::filesystem::path>& folders);

/// Throws Error with the call and CUPTI's words unless `result` is success.
void check_cupti(const CuptiLibrary& library, cupti::Result result, const char* call);

/// Calls `library.function(&parameters)` and throws Error unless it succeeds.
#define KERNELITES_CUPTI(library, function, parameters) \
  ::kernelites::worker::check_cupti((library), (library).function(&(parameters)), #function)

}  // namespace kernelites::worker
