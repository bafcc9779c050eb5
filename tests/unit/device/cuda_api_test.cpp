// SPDX-License-Identifier: Apache-2.0
// Our declarations of the CUDA driver against the toolkit's header, where a toolkit is installed.
#include "evaluators/worker/device/cuda_api.h"

#include "tests/support/catch.h"

#if __has_include(<cuda.h>)
#include <cuda.h>

#include <cstring>
#include <type_traits>

#include "evaluators/worker/device/cuda_library.h"

namespace cu = kernelites::worker::cuda;
using kernelites::worker::CudaLibrary;

namespace {

/// Two function types agree if they have the same number of parameters of the same sizes, pointer or not: the
/// driver's enumerations are our ints, its handles our opaque pointers.
template <typename Ours, typename Theirs>
constexpr bool same_slot =
    sizeof(Ours) == sizeof(Theirs) && std::is_pointer_v<Ours> == std::is_pointer_v<Theirs>;

template <typename Ours, typename Theirs>
struct SameCall : std::false_type {};
template <typename R, typename S, typename... Ours, typename... Theirs>
struct SameCall<R (*)(Ours...), S (*)(Theirs...)> {
  static constexpr bool compare() {
    if constexpr (sizeof...(Ours) == sizeof...(Theirs))
      return same_slot<R, S> && (same_slot<Ours, Theirs> && ...);
    else
      return false;
  }
  static constexpr bool value = compare();
};

#define SAME_CALL(member, function) \
  static_assert(SameCall<decltype(CudaLibrary::member), decltype(&function)>::value, #function)
SAME_CALL(get_error_name, cuGetErrorName);
SAME_CALL(get_error_string, cuGetErrorString);
SAME_CALL(init, cuInit);
SAME_CALL(driver_get_version, cuDriverGetVersion);
SAME_CALL(device_get, cuDeviceGet);
SAME_CALL(device_get_name, cuDeviceGetName);
SAME_CALL(device_get_attribute, cuDeviceGetAttribute);
SAME_CALL(device_total_memory, cuDeviceTotalMem);
SAME_CALL(primary_context_retain, cuDevicePrimaryCtxRetain);
SAME_CALL(primary_context_release, cuDevicePrimaryCtxRelease);
SAME_CALL(context_set_current, cuCtxSetCurrent);
SAME_CALL(context_set_limit, cuCtxSetLimit);
SAME_CALL(context_reset_persisting_l2, cuCtxResetPersistingL2Cache);
SAME_CALL(context_synchronize, cuCtxSynchronize);
SAME_CALL(memory_get_granularity, cuMemGetAllocationGranularity);
SAME_CALL(memory_create, cuMemCreate);
SAME_CALL(memory_release, cuMemRelease);
SAME_CALL(memory_address_reserve, cuMemAddressReserve);
SAME_CALL(memory_address_free, cuMemAddressFree);
SAME_CALL(memory_map, cuMemMap);
SAME_CALL(memory_unmap, cuMemUnmap);
SAME_CALL(memory_set_access, cuMemSetAccess);
SAME_CALL(memory_export, cuMemExportToShareableHandle);
SAME_CALL(memory_import, cuMemImportFromShareableHandle);
SAME_CALL(copy_to_device, cuMemcpyHtoD);
SAME_CALL(copy_to_host, cuMemcpyDtoH);
SAME_CALL(set_bytes, cuMemsetD8);
SAME_CALL(module_load_data, cuModuleLoadDataEx);
SAME_CALL(module_unload, cuModuleUnload);
SAME_CALL(module_get_function, cuModuleGetFunction);
SAME_CALL(function_load, cuFuncLoad);
SAME_CALL(function_get_attribute, cuFuncGetAttribute);
SAME_CALL(function_set_attribute, cuFuncSetAttribute);
SAME_CALL(function_get_parameter, cuFuncGetParamInfo);
SAME_CALL(launch_kernel, cuLaunchKernelEx);
SAME_CALL(encode_tensor_map, cuTensorMapEncodeTiled);
SAME_CALL(stream_create, cuStreamCreate);
SAME_CALL(stream_query, cuStreamQuery);
SAME_CALL(event_create, cuEventCreate);
SAME_CALL(event_record, cuEventRecord);
SAME_CALL(event_query, cuEventQuery);
SAME_CALL(event_elapsed_time, cuEventElapsedTime);

#define SAME_OFFSET(ours, member, theirs, their_member) \
  static_assert(offsetof(cu::ours, member) == offsetof(theirs, their_member), #their_member)
static_assert(sizeof(cu::AllocationProperties) == sizeof(CUmemAllocationProp));
SAME_OFFSET(AllocationProperties, requested_handle_types, CUmemAllocationProp, requestedHandleTypes);
SAME_OFFSET(AllocationProperties, location, CUmemAllocationProp, location);
SAME_OFFSET(AllocationProperties, win32_handle_metadata, CUmemAllocationProp, win32HandleMetaData);
SAME_OFFSET(AllocationProperties, flags, CUmemAllocationProp, allocFlags);
static_assert(sizeof(cu::MemoryLocation) == sizeof(CUmemLocation));
static_assert(sizeof(cu::AccessDescription) == sizeof(CUmemAccessDesc));
SAME_OFFSET(AccessDescription, flags, CUmemAccessDesc, flags);
static_assert(sizeof(cu::LaunchAttributeValue) == sizeof(CUlaunchAttributeValue));
static_assert(sizeof(cu::LaunchAttribute) == sizeof(CUlaunchAttribute));
SAME_OFFSET(LaunchAttribute, value, CUlaunchAttribute, value);
static_assert(sizeof(cu::LaunchConfiguration) == sizeof(CUlaunchConfig));
SAME_OFFSET(LaunchConfiguration, shared_bytes, CUlaunchConfig, sharedMemBytes);
SAME_OFFSET(LaunchConfiguration, stream, CUlaunchConfig, hStream);
SAME_OFFSET(LaunchConfiguration, attributes, CUlaunchConfig, attrs);
SAME_OFFSET(LaunchConfiguration, attribute_count, CUlaunchConfig, numAttrs);
static_assert(sizeof(cu::EncodedTensorMap) == sizeof(CUtensorMap) && alignof(cu::EncodedTensorMap) >= 64);

struct Value {
  const char* name;
  long long ours, theirs;
};
#define VALUE(ours, theirs) \
  Value { #theirs, cu::ours, theirs }
const Value k_values[] = {
    VALUE(k_success, CUDA_SUCCESS),
    VALUE(k_invalid_value, CUDA_ERROR_INVALID_VALUE),
    VALUE(k_out_of_memory, CUDA_ERROR_OUT_OF_MEMORY),
    VALUE(k_not_found, CUDA_ERROR_NOT_FOUND),
    VALUE(k_not_ready, CUDA_ERROR_NOT_READY),
    VALUE(k_illegal_address, CUDA_ERROR_ILLEGAL_ADDRESS),
    VALUE(k_launch_out_of_resources, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES),
    VALUE(k_launch_timeout, CUDA_ERROR_LAUNCH_TIMEOUT),
    VALUE(k_assert, CUDA_ERROR_ASSERT),
    VALUE(k_hardware_stack_error, CUDA_ERROR_HARDWARE_STACK_ERROR),
    VALUE(k_illegal_instruction, CUDA_ERROR_ILLEGAL_INSTRUCTION),
    VALUE(k_misaligned_address, CUDA_ERROR_MISALIGNED_ADDRESS),
    VALUE(k_invalid_address_space, CUDA_ERROR_INVALID_ADDRESS_SPACE),
    VALUE(k_invalid_pc, CUDA_ERROR_INVALID_PC),
    VALUE(k_launch_failed, CUDA_ERROR_LAUNCH_FAILED),
    VALUE(k_cooperative_launch_too_large, CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE),
    VALUE(k_invalid_cluster_size, CUDA_ERROR_INVALID_CLUSTER_SIZE),
    VALUE(k_multiprocessor_count, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
    VALUE(k_l2_cache_size, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE),
    VALUE(k_compute_capability_major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
    VALUE(k_compute_capability_minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
    VALUE(k_max_registers_per_multiprocessor, CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR),
    VALUE(k_pageable_memory_access, CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS),
    VALUE(k_max_shared_memory_per_block_optin, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
    VALUE(k_virtual_memory_management_supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED),
    VALUE(k_handle_type_posix_file_descriptor_supported,
          CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED),
    VALUE(k_max_threads_per_block, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
    VALUE(k_shared_size_bytes, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES),
    VALUE(k_max_dynamic_shared_size_bytes, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES),
    VALUE(k_preferred_shared_memory_carveout, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT),
    VALUE(k_non_portable_cluster_size_allowed, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED),
    VALUE(k_jit_error_log_buffer, CU_JIT_ERROR_LOG_BUFFER),
    VALUE(k_jit_error_log_buffer_size_bytes, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES),
    VALUE(k_stream_non_blocking, CU_STREAM_NON_BLOCKING),
    VALUE(k_limit_printf_fifo_size, CU_LIMIT_PRINTF_FIFO_SIZE),
    VALUE(k_limit_malloc_heap_size, CU_LIMIT_MALLOC_HEAP_SIZE),
    VALUE(k_limit_persisting_l2_cache_size, CU_LIMIT_PERSISTING_L2_CACHE_SIZE),
    VALUE(k_allocation_type_pinned, CU_MEM_ALLOCATION_TYPE_PINNED),
    VALUE(k_handle_type_posix_file_descriptor, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR),
    VALUE(k_location_type_device, CU_MEM_LOCATION_TYPE_DEVICE),
    VALUE(k_access_read, CU_MEM_ACCESS_FLAGS_PROT_READ),
    VALUE(k_access_read_write, CU_MEM_ACCESS_FLAGS_PROT_READWRITE),
    VALUE(k_granularity_minimum, CU_MEM_ALLOC_GRANULARITY_MINIMUM),
    VALUE(k_attribute_cooperative, CU_LAUNCH_ATTRIBUTE_COOPERATIVE),
    VALUE(k_attribute_cluster_dimension, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION),
    VALUE(k_attribute_programmatic_stream_serialization,
          CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION),
    VALUE(k_attribute_priority, CU_LAUNCH_ATTRIBUTE_PRIORITY),
    VALUE(k_tensor_uint8, CU_TENSOR_MAP_DATA_TYPE_UINT8),
    VALUE(k_tensor_int32, CU_TENSOR_MAP_DATA_TYPE_INT32),
    VALUE(k_tensor_int64, CU_TENSOR_MAP_DATA_TYPE_INT64),
    VALUE(k_tensor_float16, CU_TENSOR_MAP_DATA_TYPE_FLOAT16),
    VALUE(k_tensor_float32, CU_TENSOR_MAP_DATA_TYPE_FLOAT32),
    VALUE(k_tensor_float64, CU_TENSOR_MAP_DATA_TYPE_FLOAT64),
    VALUE(k_tensor_bfloat16, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16),
    VALUE(k_interleave_none, CU_TENSOR_MAP_INTERLEAVE_NONE),
    VALUE(k_swizzle_none, CU_TENSOR_MAP_SWIZZLE_NONE),
    VALUE(k_swizzle_32b, CU_TENSOR_MAP_SWIZZLE_32B),
    VALUE(k_swizzle_64b, CU_TENSOR_MAP_SWIZZLE_64B),
    VALUE(k_swizzle_128b, CU_TENSOR_MAP_SWIZZLE_128B),
    VALUE(k_promotion_none, CU_TENSOR_MAP_L2_PROMOTION_NONE),
    VALUE(k_promotion_64b, CU_TENSOR_MAP_L2_PROMOTION_L2_64B),
    VALUE(k_promotion_128b, CU_TENSOR_MAP_L2_PROMOTION_L2_128B),
    VALUE(k_promotion_256b, CU_TENSOR_MAP_L2_PROMOTION_L2_256B),
    VALUE(k_oob_fill_none, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
};

}  // namespace

TEST_CASE("our constants are the toolkit's") {
  for (const Value& value : k_values) {
    INFO(value.name);
    CHECK(value.ours == value.theirs);
  }
}

TEST_CASE("a cluster launch attribute has the toolkit's bytes") {
  cu::LaunchAttribute ours{.id = cu::k_attribute_cluster_dimension};
  ours.value.cluster[0] = 2;
  ours.value.cluster[1] = 3;
  ours.value.cluster[2] = 4;
  CUlaunchAttribute theirs{};
  std::memcpy(&theirs, &ours, sizeof theirs);
  CHECK(theirs.id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
  CHECK(theirs.value.clusterDim.x == 2);
  CHECK(theirs.value.clusterDim.y == 3);
  CHECK(theirs.value.clusterDim.z == 4);
}

#else

TEST_CASE("the driver's declarations are compared where a toolkit is installed") {
  WARN("skipped: no cuda.h");
  CHECK(sizeof(kernelites::worker::cuda::EncodedTensorMap) == 128);
}

#endif
