// SPDX-License-Identifier: Apache-2.0
// cuMemCreate, cuMemAddressReserve, cuMemMap, cuMemSetAccess, and their undoing in reverse order.
//
// Addresses: a random hint, which a driver may ignore, and a random shift within a reservation that is larger than
// needed, which none can. Addresses cost nothing until they are mapped.
#include "evaluators/worker/device/cuda_memory.h"

#include <fmt/format.h>
#include <sys/random.h>

#include "engine/core/error.h"
#include "evaluators/worker/sandbox/file_descriptor.h"

namespace kernelites::worker {
namespace {

/// Where hints lie: above what a process usually maps low, below the end of 47-bit addresses.
constexpr std::uint64_t k_hint_min = std::uint64_t{1} << 40, k_hint_span = std::uint64_t{62} << 40;
/// A reservation is larger than needed by up to this much.
constexpr std::uint64_t k_shift_span = std::uint64_t{8} << 30;

/// Below `bound`; from the operating system, so that no seed that a process knows tells of it.
std::uint64_t random_below(std::uint64_t bound) {
  std::uint64_t value = 0;
  if (::getrandom(&value, sizeof value, 0) != sizeof value) throw Error("the system gives no random numbers");
  return value % bound;
}

}  // namespace

CudaMemory::CudaMemory(const CudaLibrary& cuda, cuda::DeviceOrdinal device) : cuda_(cuda) {
  properties_.type = cuda::k_allocation_type_pinned;
  properties_.requested_handle_types = cuda::k_handle_type_posix_file_descriptor;
  properties_.location = {.type = cuda::k_location_type_device, .id = device};
  KERNELITES_CUDA(cuda_, memory_get_granularity, &granularity_, &properties_, cuda::k_granularity_minimum);
}

CudaMemory::~CudaMemory() {
  if (is_abandoned_) return;
  for (const auto& [address, mapping] : mappings_) unmap(address, mapping);
}

Buffer CudaMemory::allocate(std::int64_t bytes, const std::string& name) {
  KERNELITES_ASSERT(bytes > 0);
  cuda::AllocationHandle allocation = 0;
  const cuda::Result result = cuda_.memory_create(&allocation, mapped_bytes(bytes), &properties_, 0);
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

/// Both sides of shared memory round alike.
std::size_t CudaMemory::mapped_bytes(std::int64_t bytes) const {
  const std::size_t wanted = static_cast<std::size_t>(bytes) + k_slack_bytes_min;
  return (wanted + granularity_ - 1) / granularity_ * granularity_;
}

/// Reserves addresses for `mapping`; the result is where its memory begins.
cuda::DevicePointer CudaMemory::reserve(Mapping& mapping) {
  const std::size_t shift = random_below(k_shift_span / granularity_) * granularity_;
  const cuda::DevicePointer hint = (k_hint_min + random_below(k_hint_span)) / granularity_ * granularity_;
  mapping.reserved_bytes = mapping.mapped_bytes + 2 * k_guard_bytes + shift;
  KERNELITES_CUDA(cuda_, memory_address_reserve, &mapping.reserved, mapping.reserved_bytes, /*alignment=*/0,
                  hint, 0);
  return mapping.reserved + k_guard_bytes + shift;
}

/// Maps an allocation of ours or of another process; owns it from here on.
Buffer CudaMemory::place(cuda::AllocationHandle allocation, std::int64_t bytes, Access access,
                         const std::string& name) {
  Mapping mapping{.allocation = allocation,
                  .mapped_bytes = mapped_bytes(bytes),
                  .buffer_bytes = static_cast<std::size_t>(bytes),
                  .access = access};
  cuda::DevicePointer address = 0;
  try {
    address = reserve(mapping);
  } catch (const Error&) {
    cuda_.memory_release(allocation);
    throw;
  }
  const cuda::Result result = cuda_.memory_map(address, mapping.mapped_bytes, /*offset=*/0, allocation, 0);
  if (result != cuda::k_success) {
    cuda_.memory_address_free(mapping.reserved, mapping.reserved_bytes);
    cuda_.memory_release(allocation);
    check_cuda(cuda_, result, "memory_map", __FILE__, __LINE__);
  }
  mappings_.emplace(address, mapping);
  const cuda::AccessDescription allowed{
      .location = properties_.location,
      .flags = access == Access::read_only ? cuda::k_access_read : cuda::k_access_read_write};
  KERNELITES_CUDA(cuda_, memory_set_access, address, mapping.mapped_bytes, &allowed, 1);
  return {.address = address,
          .bytes = bytes,
          .name = name,
          .mapped_address = address,
          .mapped_bytes = static_cast<std::int64_t>(mapping.mapped_bytes)};
}

void CudaMemory::release(const Buffer& buffer) {
  const Mapping mapping = find(buffer);
  mappings_.erase(buffer.mapped_address);
  if (!is_abandoned_) unmap(buffer.mapped_address, mapping);
}

/// Unchecked: it runs when something has failed already, and what cannot be given back ends with the process.
void CudaMemory::unmap(cuda::DevicePointer address, const Mapping& mapping) {
  cuda_.memory_unmap(address, mapping.mapped_bytes);
  cuda_.memory_address_free(mapping.reserved, mapping.reserved_bytes);
  cuda_.memory_release(mapping.allocation);
}

const CudaMemory::Mapping& CudaMemory::find(const Buffer& buffer) const {
  const auto found = mappings_.find(buffer.mapped_address);
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
  const std::uint64_t end = buffer.address - buffer.mapped_address + start + bytes;
  if (buffer.address < buffer.mapped_address || end > mapping.mapped_bytes)
    throw Error(fmt::format("{} does not lie in its mapping", buffer.name));
  return buffer.address + start;
}

}  // namespace kernelites::worker
