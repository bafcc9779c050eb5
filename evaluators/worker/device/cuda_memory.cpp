// SPDX-License-Identifier: Apache-2.0
// cuMemCreate, cuMemAddressReserve, cuMemMap, cuMemSetAccess, and their undoing in reverse order.
#include "evaluators/worker/device/cuda_memory.h"

#include <fmt/format.h>

#include "engine/core/error.h"
#include "evaluators/worker/sandbox/file_descriptor.h"

namespace kernelites::worker {

CudaMemory::CudaMemory(const CudaLibrary& cuda, cuda::DeviceOrdinal device) : cuda_(cuda) {
  properties_.type = cuda::k_allocation_type_pinned;
  properties_.requested_handle_types = cuda::k_handle_type_posix_file_descriptor;
  properties_.location = {.type = cuda::k_location_type_device, .id = device};
  KERNELITES_CUDA(cuda_, memory_get_granularity, &granularity_, &properties_, cuda::k_granularity_minimum);
}

CudaMemory::~CudaMemory() {
  if (is_abandoned_) return;
  for (const auto& [address, mapping] : mappings_) unmap(mapping);
}

Buffer CudaMemory::allocate(std::int64_t bytes, const std::string& name) {
  KERNELITES_ASSERT(bytes > 0);
  const std::size_t mapped =
      (static_cast<std::size_t>(bytes) + granularity_ - 1) / granularity_ * granularity_;
  cuda::AllocationHandle allocation = 0;
  const cuda::Result result = cuda_.memory_create(&allocation, mapped, &properties_, 0);
  if (result == cuda::k_out_of_memory)
    throw Error(fmt::format("not enough device memory for {} ({} bytes)", name, bytes));
  check_cuda(cuda_, result, "memory_create", __FILE__, __LINE__);
  return place(allocation, bytes, Access::read_write, name);
}

int CudaMemory::share(const Buffer& buffer) const {
  int descriptor = -1;
  KERNELITES_CUDA(cuda_, memory_export, &descriptor, find(buffer).allocation,
                  cuda::k_handle_type_posix_file_descriptor, 0);
  return descriptor;
}

Buffer CudaMemory::map(int descriptor, std::int64_t bytes, Access access, const std::string& name) {
  const FileDescriptor owned(descriptor);  // the driver keeps no use for it after the import
  KERNELITES_ASSERT(bytes > 0);
  cuda::AllocationHandle allocation = 0;
  KERNELITES_CUDA(cuda_, memory_import, &allocation,
                  reinterpret_cast<void*>(static_cast<std::uintptr_t>(descriptor)),
                  cuda::k_handle_type_posix_file_descriptor);
  return place(allocation, bytes, access, name);
}

/// Maps an allocation of ours or of another process; owns it from here on. Both sides round `bytes` alike.
Buffer CudaMemory::place(cuda::AllocationHandle allocation, std::int64_t bytes, Access access,
                         const std::string& name) {
  const std::size_t mapped =
      (static_cast<std::size_t>(bytes) + granularity_ - 1) / granularity_ * granularity_;
  Mapping mapping{.allocation = allocation,
                  .mapped_bytes = mapped,
                  .buffer_bytes = static_cast<std::size_t>(bytes),
                  .access = access};
  cuda::Result result = cuda_.memory_address_reserve(&mapping.reserved, mapped + 2 * k_guard_bytes,
                                                     /*alignment=*/0, /*hint=*/0, 0);
  if (result != cuda::k_success) {
    cuda_.memory_release(allocation);
    check_cuda(cuda_, result, "memory_address_reserve", __FILE__, __LINE__);
  }
  const cuda::DevicePointer address = mapping.reserved + k_guard_bytes;
  result = cuda_.memory_map(address, mapped, /*offset=*/0, allocation, 0);
  if (result != cuda::k_success) {
    cuda_.memory_address_free(mapping.reserved, mapped + 2 * k_guard_bytes);
    cuda_.memory_release(allocation);
    check_cuda(cuda_, result, "memory_map", __FILE__, __LINE__);
  }
  mappings_.emplace(address, mapping);
  const cuda::AccessDescription allowed{
      .location = properties_.location,
      .flags = access == Access::read_only ? cuda::k_access_read : cuda::k_access_read_write};
  KERNELITES_CUDA(cuda_, memory_set_access, address, mapped, &allowed, 1);
  return {.address = address, .bytes = bytes, .name = name};
}

void CudaMemory::release(const Buffer& buffer) {
  const Mapping mapping = find(buffer);
  mappings_.erase(buffer.address);
  if (!is_abandoned_) unmap(mapping);
}

/// Unchecked: it runs when something has failed already, and what cannot be given back ends with the process.
void CudaMemory::unmap(const Mapping& mapping) {
  cuda_.memory_unmap(mapping.reserved + k_guard_bytes, mapping.mapped_bytes);
  cuda_.memory_address_free(mapping.reserved, mapping.mapped_bytes + 2 * k_guard_bytes);
  cuda_.memory_release(mapping.allocation);
}

const CudaMemory::Mapping& CudaMemory::find(const Buffer& buffer) const {
  const auto found = mappings_.find(buffer.address);
  if (found == mappings_.end()) throw Error(fmt::format("{} is not mapped here", buffer.name));
  return found->second;
}

cuda::DevicePointer CudaMemory::range(const Buffer& buffer, std::int64_t offset, std::size_t bytes,
                                      Access access) const {
  const Mapping& mapping = find(buffer);
  if (access == Access::read_write && mapping.access == Access::read_only)
    throw Error(fmt::format("{} is mapped read-only", buffer.name));
  const auto start = static_cast<std::size_t>(offset);
  if (offset < 0 || start > mapping.buffer_bytes || bytes > mapping.buffer_bytes - start)
    throw Error(fmt::format("{} bytes at {} do not lie in {} ({} bytes)", bytes, offset, buffer.name,
                            mapping.buffer_bytes));
  return buffer.address + start;
}

}  // namespace kernelites::worker
