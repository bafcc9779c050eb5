// SPDX-License-Identifier: Apache-2.0
// Our declarations of CUPTI against the toolkit's headers, where they are installed.
#include "evaluators/worker/counters/cupti_api.h"

#include "tests/support/catch.h"

#if __has_include(<cupti_range_profiler.h>) && __has_include(<cupti_profiler_host.h>)
#include <cupti_profiler_host.h>
#include <cupti_range_profiler.h>
#include <cupti_target.h>

namespace ours = kernelites::worker::cupti;

// Of each structure: the size that its callers announce, and where its last member lies.
#define SAME_LAYOUT(mine, my_last, theirs, their_last)                                                       \
  static_assert(                                                                                             \
      sizeof(ours::mine) == sizeof(theirs) && offsetof(ours::mine, my_last) == offsetof(theirs, their_last), \
      #theirs);                                                                                              \
  CHECK(ours::mine{}.size == offsetof(theirs, their_last) + sizeof(((theirs*)nullptr)->their_last))

TEST_CASE("structures of CUPTI are laid out and sized as its headers say") {
  SAME_LAYOUT(Initialize, reserved, CUpti_Profiler_Initialize_Params, pPriv);
  SAME_LAYOUT(DeviceSupported, api, CUpti_Profiler_DeviceSupported_Params, api);
  SAME_LAYOUT(GetChipName, chip, CUpti_Device_GetChipName_Params, pChipName);
  SAME_LAYOUT(GetCounterAvailability, image, CUpti_Profiler_GetCounterAvailability_Params,
              pCounterAvailabilityImage);
  SAME_LAYOUT(HostInitialize, host, CUpti_Profiler_Host_Initialize_Params, pHostObject);
  SAME_LAYOUT(HostDeinitialize, host, CUpti_Profiler_Host_Deinitialize_Params, pHostObject);
  SAME_LAYOUT(ConfigAddMetrics, count, CUpti_Profiler_Host_ConfigAddMetrics_Params, numMetrics);
  SAME_LAYOUT(GetConfigImageSize, bytes, CUpti_Profiler_Host_GetConfigImageSize_Params, configImageSize);
  SAME_LAYOUT(GetConfigImage, image, CUpti_Profiler_Host_GetConfigImage_Params, pConfigImage);
  SAME_LAYOUT(GetPassCount, passes, CUpti_Profiler_Host_GetNumOfPasses_Params, numOfPasses);
  SAME_LAYOUT(EvaluateToGpuValues, values, CUpti_Profiler_Host_EvaluateToGpuValues_Params, pMetricValues);
  SAME_LAYOUT(RangeEnable, profiler, CUpti_RangeProfiler_Enable_Params, pRangeProfilerObject);
  SAME_LAYOUT(RangeCommand, profiler, CUpti_RangeProfiler_Disable_Params, pRangeProfilerObject);
  SAME_LAYOUT(RangeCommand, profiler, CUpti_RangeProfiler_Start_Params, pRangeProfilerObject);
  SAME_LAYOUT(RangeCommand, profiler, CUpti_RangeProfiler_PopRange_Params, pRangeProfilerObject);
  SAME_LAYOUT(RangeStop, is_complete, CUpti_RangeProfiler_Stop_Params, isAllPassSubmitted);
  SAME_LAYOUT(RangePush, name, CUpti_RangeProfiler_PushRange_Params, pRangeName);
  SAME_LAYOUT(RangeDecode, dropped, CUpti_RangeProfiler_DecodeData_Params, numOfRangeDropped);
  SAME_LAYOUT(RangeDataSize, bytes, CUpti_RangeProfiler_GetCounterDataSize_Params, counterDataSize);
  SAME_LAYOUT(RangeDataInitialize, data, CUpti_RangeProfiler_CounterDataImage_Initialize_Params,
              pCounterData);
  SAME_LAYOUT(RangeSetConfig, target_nesting_level, CUpti_RangeProfiler_SetConfig_Params, targetNestingLevel);
}

TEST_CASE("constants of CUPTI are those of its headers") {
  CHECK(ours::k_success == CUPTI_SUCCESS);
  CHECK(ours::k_insufficient_privileges == CUPTI_ERROR_INSUFFICIENT_PRIVILEGES);
  CHECK(ours::k_range_profiler_type == CUPTI_PROFILER_TYPE_RANGE_PROFILER);
  CHECK(ours::k_user_range == CUPTI_UserRange);
  CHECK(ours::k_user_replay == CUPTI_UserReplay);
  CHECK(ours::k_supported == CUPTI_PROFILER_CONFIGURATION_SUPPORTED);
  CHECK(ours::DeviceSupported{}.api == CUPTI_PROFILER_RANGE_PROFILING);
}
#endif
