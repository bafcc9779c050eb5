// SPDX-License-Identifier: Apache-2.0
// Device memory by the driver's virtual memory management: shareable, protectable, with unmapped guards on
// both sides.
#pragma once

#include <map>
#include <string>

#include "evaluators/worker/device/cuda_library.h"
#include "evaluators/worker/device/device.h"

namespace kernelites::worker {

/// Unmapped addresses before and after every mapping, at the least: an access that runs off it by less faults.
inline constexpr std::size_t k_guard_bytes = std::size_t{64} << 20;
/// Room for placing a buffer in its mapping: twice the largest alignment that a plan may ask for.
inline constexpr std::size_t k_slack_bytes_min = 2 * 65536;

/// The mappings of one context, each at an address that the operating system's random numbers choose, so that no
/// address tells of another. Lives no longer than the context, on one thread.
class CudaMemory {
 public:
  CudaMemory(const CudaLibrary& cuda, cuda::DeviceOrdinal device);
  CudaMemory(const CudaMemory&) = delete;
  CudaMemory& operator=(const CudaMemory&) = delete;
  /// Gives everything back unless the context was `abandon`ed.
  ~CudaMemory();

  /// As in `Device`.
  Buffer allocate(std::int64_t bytes, const std::string& name);
  int share(const Buffer& buffer) const;
  Buffer map(int descriptor, std::int64_t bytes, Access access, const std::string& name);
  void release(const Buffer& buffer);

  /// The address of `bytes` at `offset` in `buffer`. Throws Error if they do not lie in it, or cannot be
  /// written.
  cuda::DevicePointer range(const Buffer& buffer, std::int64_t offset, std::size_t bytes,
                            Access access) const;

  /// The context hangs or is broken: every further call would hang or fail, so none is made.
  void abandon() { is_abandoned_ = true; }

 private:
  struct Mapping {
    cuda::AllocationHandle allocation = 0;
    cuda::DevicePointer reserved = 0;  ///< start of the guard before it
    std::size_t reserved_bytes = 0;
    std::size_t mapped_bytes = 0;
    std::size_t buffer_bytes = 0;
    Access access = Access::read_write;
  };

  std::size_t mapped_bytes(std::int64_t bytes) const;
  cuda::DevicePointer reserve(Mapping& mapping);
  Buffer place(cuda::AllocationHandle allocation, std::int64_t bytes, Access access, const std::string& name);
  const Mapping& find(const Buffer& buffer) const;
  void unmap(cuda::DevicePointer address, const Mapping& mapping);

  const CudaLibrary& cuda_;
  cuda::AllocationProperties properties_;
  std::size_t granularity_ = 0;
  bool is_abandoned_ = false;
  std::map<cuda::DevicePointer, Mapping> mappings_;  ///< by the address where memory begins
};

}  // namespace kernelites::worker
