// SPDX-License-Identifier: Apache-2.0
// memfd_create, seals, mmap.
#include "evaluators/worker/device/shared_mapping.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

constexpr std::size_t k_page_bytes = 4096;

[[noreturn]] void fail(const char* what, const std::string& name, std::size_t bytes) {
  throw Error(fmt::format("{} for {} ({} bytes): {}", what, name, bytes, std::strerror(errno)));
}

}  // namespace

SharedMapping SharedMapping::create(std::size_t bytes, const std::string& name) {
  KERNELITES_ASSERT(bytes > 0);
  FileDescriptor file(::memfd_create("kernelites", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) fail("no memory", name, bytes);
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    fail("cannot seal memory", name, bytes);
  return SharedMapping(std::move(file), bytes, Access::read_write, name);
}

SharedMapping SharedMapping::open(FileDescriptor file, std::size_t bytes, Access access,
                                  const std::string& name) {
  KERNELITES_ASSERT(bytes > 0);
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) fail("cannot look at shared memory", name, bytes);
  const auto period = static_cast<std::size_t>(facts.st_size);
  if (period < bytes && (access != Access::read_only || period == 0 || period % k_page_bytes != 0))
    throw Error(fmt::format("shared memory for {} has {} bytes, not {}", name, facts.st_size, bytes));
  return SharedMapping(std::move(file), bytes, access, name);
}

SharedMapping::SharedMapping(FileDescriptor file, std::size_t bytes, Access access, const std::string& name)
    : file_(std::move(file)), bytes_(bytes), access_(access) {
  const int protection = access == Access::read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  struct stat facts {};
  if (::fstat(file_.get(), &facts) != 0) fail("cannot look at memory", name, bytes);
  const std::size_t period = std::min(bytes, static_cast<std::size_t>(facts.st_size));
  void* const mapped = ::mmap(nullptr, bytes, protection, MAP_SHARED | MAP_NORESERVE, file_.get(), 0);
  if (mapped == MAP_FAILED) fail("cannot map memory", name, bytes);
  data_ = static_cast<std::byte*>(mapped);
  // What lies beyond the file shows the file again, over and over.
  for (std::size_t offset = period; offset < bytes; offset += period) {
    const std::size_t length = std::min(period, bytes - offset);
    void* const again =
        ::mmap(data_ + offset, length, protection, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, file_.get(), 0);
    if (again == MAP_FAILED) fail("cannot map memory again", name, bytes);
  }
}

SharedMapping::SharedMapping(SharedMapping&& other) noexcept
    : file_(std::move(other.file_)),
      bytes_(other.bytes_),
      access_(other.access_),
      data_(std::exchange(other.data_, nullptr)) {}

SharedMapping::~SharedMapping() {
  if (data_) ::munmap(data_, bytes_);
}

int SharedMapping::duplicate() const {
  const int copy = ::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) fail("cannot share memory", "a buffer", bytes_);
  return copy;
}

void SharedMapping::fill(std::uint8_t value) {
  KERNELITES_ASSERT(access_ == Access::read_write);
  if (value == 0 && ::madvise(data_, bytes_, MADV_REMOVE) == 0) return;
  std::memset(data_, value, bytes_);
}

}  // namespace kernelites::worker
