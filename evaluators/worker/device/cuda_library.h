// SPDX-License-Identifier: Apache-2.0
// The CUDA driver opened at run time: entry points by cuGetProcAddress, and the one way its results are
// checked.
#pragma once

#include <string>

#include "evaluators/worker/device/cuda_api.h"

namespace kernelites::worker {

/// The driver's entry points, resolved for the interface of CUDA 12.0. Plain pointers: copy freely; the
/// library stays open for the rest of the process's life.
struct CudaLibrary {
  using Result = cuda::Result;

  Result (*get_error_name)(Result, const char**) = nullptr;
  Result (*get_error_string)(Result, const char**) = nullptr;
  Result (*init)(unsigned flags) = nullptr;
  Result (*driver_get_version)(int*) = nullptr;
  Result (*device_get)(cuda::DeviceOrdinal*, int ordinal) = nullptr;
  Result (*device_get_name)(char*, int length, cuda::DeviceOrdinal) = nullptr;
  Result (*device_get_attribute)(int*, int attribute, cuda::DeviceOrdinal) = nullptr;
  Result (*device_total_memory)(std::size_t*, cuda::DeviceOrdinal) = nullptr;
  Result (*primary_context_retain)(cuda::Context*, cuda::DeviceOrdinal) = nullptr;
  Result (*primary_context_release)(cuda::DeviceOrdinal) = nullptr;
  Result (*context_set_current)(cuda::Context) = nullptr;
  Result (*context_get_current)(cuda::Context*) = nullptr;
  Result (*context_set_limit)(int limit, std::size_t) = nullptr;
  Result (*context_reset_persisting_l2)() = nullptr;
  Result (*context_synchronize)() = nullptr;

  Result (*memory_get_granularity)(std::size_t*, const cuda::AllocationProperties*, int option) = nullptr;
  Result (*memory_create)(cuda::AllocationHandle*, std::size_t bytes, const cuda::AllocationProperties*,
                          unsigned long long flags) = nullptr;
  Result (*memory_release)(cuda::AllocationHandle) = nullptr;
  Result (*memory_address_reserve)(cuda::DevicePointer*, std::size_t bytes, std::size_t alignment,
                                   cuda::DevicePointer hint, unsigned long long flags) = nullptr;
  Result (*memory_address_free)(cuda::DevicePointer, std::size_t bytes) = nullptr;
  Result (*memory_map)(cuda::DevicePointer, std::size_t bytes, std::size_t offset, cuda::AllocationHandle,
                       unsigned long long flags) = nullptr;
  Result (*memory_unmap)(cuda::DevicePointer, std::size_t bytes) = nullptr;
  Result (*memory_set_access)(cuda::DevicePointer, std::size_t bytes, const cuda::AccessDescription*,
                              std::size_t count) = nullptr;
  Result (*memory_export)(void* shareable, cuda::AllocationHandle, int type,
                          unsigned long long flags) = nullptr;
  Result (*memory_import)(cuda::AllocationHandle*, void* os_handle, int type) = nullptr;
  Result (*copy_to_device)(cuda::DevicePointer, const void*, std::size_t bytes) = nullptr;
  Result (*copy_to_host)(void*, cuda::DevicePointer, std::size_t bytes) = nullptr;
  Result (*set_bytes)(cuda::DevicePointer, unsigned char value, std::size_t count) = nullptr;

  Result (*module_load_data)(cuda::ModuleHandle*, const void* image, unsigned options, int* names,
                             void** values) = nullptr;
  Result (*module_unload)(cuda::ModuleHandle) = nullptr;
  Result (*module_get_function)(cuda::Function*, cuda::ModuleHandle, const char* name) = nullptr;
  Result (*function_get_attribute)(int*, int attribute, cuda::Function) = nullptr;
  Result (*function_set_attribute)(cuda::Function, int attribute, int value) = nullptr;
  /// Since CUDA 12.4; null before.
  Result (*function_load)(cuda::Function) = nullptr;
  /// Since CUDA 12.4; null before.
  Result (*function_get_parameter)(cuda::Function, std::size_t index, std::size_t* offset,
                                   std::size_t* bytes) = nullptr;
  Result (*launch_kernel)(const cuda::LaunchConfiguration*, cuda::Function, void** parameters,
                          void** extra) = nullptr;
  Result (*encode_tensor_map)(cuda::EncodedTensorMap*, int type, std::uint32_t rank, void* address,
                              const std::uint64_t* extents, const std::uint64_t* strides,
                              const std::uint32_t* box, const std::uint32_t* element_strides, int interleave,
                              int swizzle, int promotion, int fill) = nullptr;

  Result (*stream_create)(cuda::Stream*, unsigned flags) = nullptr;
  Result (*stream_query)(cuda::Stream) = nullptr;
  Result (*stream_wait_event)(cuda::Stream, cuda::Event, unsigned flags) = nullptr;
  Result (*event_create)(cuda::Event*, unsigned flags) = nullptr;
  Result (*event_record)(cuda::Event, cuda::Stream) = nullptr;
  Result (*event_query)(cuda::Event) = nullptr;
  Result (*event_elapsed_time)(float* ms, cuda::Event start, cuda::Event end) = nullptr;

  /// "CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access was encountered)".
  std::string words(Result result) const;
};

/// Opens libcuda.so.1 and initialises it. Throws Error that says what is missing: the library, an entry point
/// (the driver is older than 12.0), or a usable device.
CudaLibrary open_cuda();

/// Throws Error with the call, the driver's words and the place unless `result` is success.
void check_cuda(const CudaLibrary& cuda, cuda::Result result, const char* call, const char* file, int line);

/// Calls `cuda.function(...)` and throws Error unless it succeeds.
#define KERNELITES_CUDA(cuda, function, ...) \
  ::kernelites::worker::check_cuda((cuda), (cuda).function(__VA_ARGS__), #function, __FILE__, __LINE__)

}  // namespace kernelites::worker
