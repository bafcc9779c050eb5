// SPDX-License-Identifier: Apache-2.0
// The CUDA driver, opened at run time: what an exported library and its tests call, declared by ourselves.
//
// libcuda.so.1 is opened instead of linked, so that the library builds without a toolkit, and loads where there is no
// driver and says so, which a missing shared library could not. Layouts and values are those of cuda.h since CUDA 12.0.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tools/exporting/runtime/library_name.h"

struct CUstream_st;

namespace KERNELITES_LIBRARY {

using Result = int;                  // CUresult; 0: success
using Address = unsigned long long;  // CUdeviceptr
using Stream = ::CUstream_st*;       // CUstream

struct LaunchAttribute {  // CUlaunchAttribute
  int id = 0;
  char padding[4] = {};
  union {
    char bytes[64];
    std::uint32_t cluster[3];
    int number;
  } value = {};
};

struct LaunchConfiguration {  // CUlaunchConfig
  unsigned grid[3] = {1, 1, 1};
  unsigned block[3] = {1, 1, 1};
  unsigned shared_bytes = 0;
  Stream stream = nullptr;
  LaunchAttribute* attributes = nullptr;
  unsigned attribute_count = 0;
};

struct alignas(128) EncodedMap {  // CUtensorMap
  std::uint64_t opaque[16] = {};
};

/// One row per entry point: what it returns and takes, our name, the driver's.
#define KERNELITES_DRIVER(X)                                                               \
  X(init, "cuInit", (unsigned))                                                            \
  X(driver_version, "cuDriverGetVersion", (int*))                                          \
  X(error_name, "cuGetErrorName", (Result, const char**))                                  \
  X(device_get, "cuDeviceGet", (int*, int))                                                \
  X(device_name, "cuDeviceGetName", (char*, int, int))                                     \
  X(device_attribute, "cuDeviceGetAttribute", (int*, int, int))                            \
  X(primary_context, "cuDevicePrimaryCtxRetain", (void**, int))                            \
  X(context_set, "cuCtxSetCurrent", (void*))                                               \
  X(context_get, "cuCtxGetCurrent", (void**))                                              \
  X(context_device, "cuCtxGetDevice", (int*))                                              \
  X(module_load, "cuModuleLoadData", (void**, const void*))                                \
  X(module_unload, "cuModuleUnload", (void*))                                              \
  X(module_function, "cuModuleGetFunction", (void**, void*, const char*))                  \
  X(function_set, "cuFuncSetAttribute", (void*, int, int))                                 \
  X(function_get, "cuFuncGetAttribute", (int*, int, void*))                                \
  X(launch, "cuLaunchKernelEx", (const LaunchConfiguration*, void*, void**, void**))       \
  X(memset_async, "cuMemsetD8Async", (Address, unsigned char, std::size_t, Stream))        \
  X(encode_map, "cuTensorMapEncodeTiled",                                                  \
    (EncodedMap*, int, std::uint32_t, void*, const std::uint64_t*, const std::uint64_t*,   \
     const std::uint32_t*, const std::uint32_t*, int, int, int, int))                      \
  X(allocate, "cuMemAlloc_v2", (Address*, std::size_t))                                    \
  X(release, "cuMemFree_v2", (Address))                                                    \
  X(upload, "cuMemcpyHtoD_v2", (Address, const void*, std::size_t))                        \
  X(download, "cuMemcpyDtoH_v2", (void*, Address, std::size_t))                            \
  X(copy, "cuMemcpyDtoD_v2", (Address, Address, std::size_t))                              \
  X(synchronise, "cuCtxSynchronize", ())                                                   \
  X(stream_create, "cuStreamCreate", (Stream*, unsigned))                                  \
  X(stream_synchronise, "cuStreamSynchronize", (Stream))                                   \
  X(event_create, "cuEventCreate", (void**, unsigned))                                     \
  X(event_record, "cuEventRecord", (void*, Stream))                                        \
  X(event_elapsed, "cuEventElapsedTime", (float*, void*, void*))                           \
  X(capture_begin, "cuStreamBeginCapture_v2", (Stream, int))                               \
  X(capture_end, "cuStreamEndCapture", (Stream, void**))                                   \
  X(graph_instantiate, "cuGraphInstantiateWithFlags", (void**, void*, unsigned long long)) \
  X(graph_launch, "cuGraphLaunch", (void*, Stream))

/// All entry points; null where the driver is too old for one.
struct Driver {
#define KERNELITES_MEMBER(name, symbol, parameters) Result(*name) parameters = nullptr;
  KERNELITES_DRIVER(KERNELITES_MEMBER)
#undef KERNELITES_MEMBER
  const char* problem = nullptr;  // why there is no driver; null: there is one
};

/// Opened at the first call and kept. Thread-safe.
const Driver& driver();
/// "CUDA_ERROR_INVALID_VALUE", or a number.
const char* result_words(Result result);
/// How well code of an architecture suits a device: "sm_90a" runs on capability 9.0 alone, "sm_90" on every 9.x. 0: not
/// at all.
int fitness(const char* architecture, int major, int minor);

// CUdevice_attribute
constexpr int k_multiprocessors = 16, k_l2_bytes = 38, k_capability_major = 75, k_capability_minor = 76,
              k_registers_per_multiprocessor = 82, k_shared_bytes_optin = 97;
// CUfunction_attribute
constexpr int k_threads_max = 0, k_static_shared_bytes = 1, k_dynamic_shared_bytes_max = 8,
              k_allows_large_clusters = 14;
// CUlaunchAttributeID
constexpr int k_launch_cooperative = 2, k_launch_cluster = 4, k_launch_programmatic = 6,
              k_launch_priority = 8, k_launch_carveout = 14;
/// The first driver that certainly knows `k_launch_carveout`.
constexpr int k_carveout_driver = 12080;

}  // namespace KERNELITES_LIBRARY
