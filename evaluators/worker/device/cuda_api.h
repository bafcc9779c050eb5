// SPDX-License-Identifier: Apache-2.0
// The part of the CUDA driver API that we use, declared by ourselves: building needs no toolkit.
//
// Layouts and values are those of cuda.h since CUDA 12.0 (tests/unit/device/cuda_api_test.cpp compares them
// with the header where there is one). Names are the driver's without their prefix.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kernelites::worker::cuda {

using Result = int;                        ///< CUresult
using DeviceOrdinal = int;                 ///< CUdevice
using DevicePointer = unsigned long long;  ///< CUdeviceptr
using AllocationHandle = unsigned long long;
using Context = struct ContextObject*;
using ModuleHandle = struct ModuleObject*;
using Function = struct FunctionObject*;
using Stream = struct StreamObject*;
using Event = struct EventObject*;

// CUresult
inline constexpr Result k_success = 0, k_invalid_value = 1, k_out_of_memory = 2, k_not_found = 500,
                        k_not_ready = 600, k_illegal_address = 700, k_launch_out_of_resources = 701,
                        k_launch_timeout = 702, k_assert = 710, k_hardware_stack_error = 714,
                        k_illegal_instruction = 715, k_misaligned_address = 716,
                        k_invalid_address_space = 717, k_invalid_pc = 718, k_launch_failed = 719,
                        k_cooperative_launch_too_large = 720, k_invalid_cluster_size = 912;

// CUdevice_attribute
inline constexpr int k_multiprocessor_count = 16, k_l2_cache_size = 38, k_compute_capability_major = 75,
                     k_compute_capability_minor = 76, k_max_registers_per_multiprocessor = 82,
                     k_pageable_memory_access = 88, k_max_shared_memory_per_block_optin = 97,
                     k_virtual_memory_management_supported = 102,
                     k_handle_type_posix_file_descriptor_supported = 103;

// CUfunction_attribute
inline constexpr int k_max_threads_per_block = 0, k_shared_size_bytes = 1,
                     k_max_dynamic_shared_size_bytes = 8, k_preferred_shared_memory_carveout = 9,
                     k_non_portable_cluster_size_allowed = 14;

// CUjit_option
inline constexpr int k_jit_error_log_buffer = 5, k_jit_error_log_buffer_size_bytes = 6;

// CUstream_flags, CUlimit
inline constexpr unsigned k_stream_non_blocking = 1;
inline constexpr int k_limit_printf_fifo_size = 1, k_limit_malloc_heap_size = 2,
                     k_limit_persisting_l2_cache_size = 6;

// CUmemAllocationType, CUmemAllocationHandleType, CUmemLocationType, CUmemAccess_flags,
// CUmemAllocationGranularity
inline constexpr int k_allocation_type_pinned = 1, k_handle_type_posix_file_descriptor = 1,
                     k_location_type_device = 1, k_access_read = 1, k_access_read_write = 3,
                     k_granularity_minimum = 0;

/// CUmemLocation
struct MemoryLocation {
  int type = 0;
  int id = 0;
};

/// CUmemAllocationProp
struct AllocationProperties {
  int type = 0;
  int requested_handle_types = 0;
  MemoryLocation location;
  void* win32_handle_metadata = nullptr;
  struct {
    unsigned char compression_type = 0;
    unsigned char gpu_direct_rdma_capable = 0;
    unsigned short usage = 0;
    unsigned char reserved[4] = {};
  } flags;
};

/// CUmemAccessDesc
struct AccessDescription {
  MemoryLocation location;
  int flags = 0;
};

// CUlaunchAttributeID
inline constexpr int k_attribute_cooperative = 2, k_attribute_cluster_dimension = 4,
                     k_attribute_programmatic_stream_serialization = 6, k_attribute_priority = 8;

/// CUlaunchAttributeValue: every value that we set is one to three 32-bit numbers at its start.
union LaunchAttributeValue {
  char padding[64];
  std::uint64_t alignment;
  std::uint32_t cluster[3];
  int number;
};

/// CUlaunchAttribute
struct LaunchAttribute {
  int id = 0;
  char padding[4] = {};
  LaunchAttributeValue value{};
};

/// CUlaunchConfig
struct LaunchConfiguration {
  unsigned grid_x = 1, grid_y = 1, grid_z = 1;
  unsigned block_x = 1, block_y = 1, block_z = 1;
  unsigned shared_bytes = 0;
  Stream stream = nullptr;
  LaunchAttribute* attributes = nullptr;
  unsigned attribute_count = 0;
};

/// CUtensorMap. The driver wants it aligned to 64 bytes at least.
struct alignas(128) EncodedTensorMap {
  std::uint64_t opaque[16] = {};
};

// CUtensorMapDataType
inline constexpr int k_tensor_uint8 = 0, k_tensor_int32 = 3, k_tensor_int64 = 5, k_tensor_float16 = 6,
                     k_tensor_float32 = 7, k_tensor_float64 = 8, k_tensor_bfloat16 = 9;
// CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill
inline constexpr int k_interleave_none = 0, k_swizzle_none = 0, k_swizzle_32b = 1, k_swizzle_64b = 2,
                     k_swizzle_128b = 3, k_promotion_none = 0, k_promotion_64b = 1, k_promotion_128b = 2,
                     k_promotion_256b = 3, k_oob_fill_none = 0;

}  // namespace kernelites::worker::cuda
