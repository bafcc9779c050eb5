// SPDX-License-Identifier: Apache-2.0
// The part of CUPTI's range profiler that we use, declared by ourselves: building needs no toolkit.
//
// Layouts are those of cupti_profiler_host.h, cupti_profiler_target.h and cupti_range_profiler.h since CUDA 12.6
// (tests/unit/counters/cupti_api_test.cpp compares them with the headers where there are any). Every structure begins
// with its size up to the last member that the caller knows, and a pointer that stays null.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kernelites::worker::cupti {

using Result = int;
inline constexpr Result k_success = 0, k_insufficient_privileges = 35;

using HostObject = struct HostObjectOpaque*;
using RangeProfiler = struct RangeProfilerOpaque*;
using Context = void*;  ///< CUcontext

// CUpti_ProfilerType, CUpti_ProfilerRange, CUpti_ProfilerReplayMode, CUpti_Profiler_Support_Level
inline constexpr int k_range_profiler_type = 0, k_user_range = 2, k_user_replay = 3, k_supported = 3;

struct Initialize {
  std::size_t size = sizeof(Initialize);
  void* reserved = nullptr;
};

struct DeviceSupported {
  std::size_t size = offsetof(DeviceSupported, api) + sizeof(int);
  void* reserved = nullptr;
  int device = 0;
  int is_supported = 0;
  int architecture = 0, sli = 0, virtual_gpu = 0, confidential_compute = 0, mining = 0, wsl = 0;
  int api = 0;  ///< CUPTI_PROFILER_RANGE_PROFILING
};

struct GetChipName {
  std::size_t size = sizeof(GetChipName);
  void* reserved = nullptr;
  std::size_t device = 0;
  const char* chip = nullptr;  ///< out
};

struct GetCounterAvailability {
  std::size_t size = sizeof(GetCounterAvailability);
  void* reserved = nullptr;
  Context context = nullptr;
  std::size_t image_bytes = 0;  ///< in and out
  std::uint8_t* image = nullptr;
};

struct HostInitialize {
  std::size_t size = sizeof(HostInitialize);
  void* reserved = nullptr;
  int type = k_range_profiler_type;
  const char* chip = nullptr;
  const std::uint8_t* availability = nullptr;  ///< may be null: the chip as such
  HostObject host = nullptr;                   ///< out
};

struct HostDeinitialize {
  std::size_t size = sizeof(HostDeinitialize);
  void* reserved = nullptr;
  HostObject host = nullptr;
};

struct ConfigAddMetrics {
  std::size_t size = sizeof(ConfigAddMetrics);
  void* reserved = nullptr;
  HostObject host = nullptr;
  const char** names = nullptr;
  std::size_t count = 0;
};

struct GetConfigImageSize {
  std::size_t size = sizeof(GetConfigImageSize);
  void* reserved = nullptr;
  HostObject host = nullptr;
  std::size_t bytes = 0;  ///< out
};

struct GetConfigImage {
  std::size_t size = sizeof(GetConfigImage);
  void* reserved = nullptr;
  HostObject host = nullptr;
  std::size_t bytes = 0;
  std::uint8_t* image = nullptr;
};

struct GetPassCount {
  std::size_t size = sizeof(GetPassCount);
  void* reserved = nullptr;
  std::size_t bytes = 0;
  std::uint8_t* image = nullptr;
  std::size_t passes = 0;  ///< out
};

struct EvaluateToGpuValues {
  std::size_t size = sizeof(EvaluateToGpuValues);
  void* reserved = nullptr;
  HostObject host = nullptr;
  const std::uint8_t* data = nullptr;
  std::size_t data_bytes = 0;
  std::size_t range = 0;
  const char** names = nullptr;
  std::size_t count = 0;
  double* values = nullptr;  ///< out
};

struct RangeEnable {
  std::size_t size = sizeof(RangeEnable);
  void* reserved = nullptr;
  Context context = nullptr;
  RangeProfiler profiler = nullptr;  ///< out
};

/// Disable, Start and PopRange: a profiler and nothing else.
struct RangeCommand {
  std::size_t size = sizeof(RangeCommand);
  void* reserved = nullptr;
  RangeProfiler profiler = nullptr;
};

struct RangeStop {
  std::size_t size = offsetof(RangeStop, is_complete) + 1;
  void* reserved = nullptr;
  RangeProfiler profiler = nullptr;
  std::size_t pass = 0, nesting_level = 0;  ///< out
  std::uint8_t is_complete = 0;             ///< out: all passes have been submitted
};

struct RangePush {
  std::size_t size = sizeof(RangePush);
  void* reserved = nullptr;
  RangeProfiler profiler = nullptr;
  const char* name = nullptr;
};

struct RangeDecode {
  std::size_t size = sizeof(RangeDecode);
  void* reserved = nullptr;
  RangeProfiler profiler = nullptr;
  std::size_t dropped = 0;  ///< out
};

struct RangeDataSize {
  std::size_t size = sizeof(RangeDataSize);
  void* reserved = nullptr;
  RangeProfiler profiler = nullptr;
  const char** names = nullptr;
  std::size_t count = 0;
  std::size_t ranges_max = 1;
  std::uint32_t nodes_max = 1;
  std::size_t bytes = 0;  ///< out
};

struct RangeDataInitialize {
  std::size_t size = sizeof(RangeDataInitialize);
  void* reserved = nullptr;
  RangeProfiler profiler = nullptr;
  std::size_t bytes = 0;
  std::uint8_t* data = nullptr;
};

struct RangeSetConfig {
  std::size_t size = offsetof(RangeSetConfig, target_nesting_level) + sizeof(std::uint16_t);
  void* reserved = nullptr;
  RangeProfiler profiler = nullptr;
  std::size_t config_bytes = 0;
  const std::uint8_t* config = nullptr;
  std::size_t data_bytes = 0;
  std::uint8_t* data = nullptr;
  int range = k_user_range;
  int replay = k_user_replay;
  std::size_t ranges_max = 1;
  std::uint16_t nesting_levels = 1, nesting_level_min = 1;
  std::size_t pass = 0;
  std::uint16_t target_nesting_level = 1;
};

}  // namespace kernelites::worker::cupti
