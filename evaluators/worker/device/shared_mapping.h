// SPDX-License-Identifier: Apache-2.0
// Memory of the virtual GPU that several processes share: an anonymous file, mapped. Pages cost nothing until touched.
#pragma once

#include <cstddef>
#include <string>

#include "evaluators/worker/device/device.h"
#include "evaluators/worker/sandbox/file_descriptor.h"

namespace kernelites::worker {

/// A file in memory and its mapping into this process. Move-only; unmapped at its end.
class SharedMapping {
 public:
  /// New memory, all zero. Its size is sealed: nobody it is shared with can pull it away under us.
  /// Throws Error if the system refuses. REQUIRES: bytes > 0.
  static SharedMapping create(std::size_t bytes, const std::string& name);
  /// Maps what another process created. A read-only mapping of a file that is shorter than `bytes`, and whole pages
  /// long, shows the file again and again. Throws Error if it is shorter otherwise.
  static SharedMapping open(FileDescriptor file, std::size_t bytes, Access access, const std::string& name);
  SharedMapping(SharedMapping&& other) noexcept;
  SharedMapping& operator=(SharedMapping&&) = delete;
  ~SharedMapping();

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Access access() const { return access_; }
  /// Another descriptor of the same memory; the caller closes it. Throws Error if there are none left.
  int duplicate() const;
  /// Every byte becomes `value`; zeros give the pages back. REQUIRES: read-write access.
  void fill(std::uint8_t value);

 private:
  SharedMapping(FileDescriptor file, std::size_t bytes, Access access, const std::string& name);

  FileDescriptor file_;
  std::size_t bytes_ = 0;
  Access access_ = Access::read_write;
  std::byte* data_ = nullptr;
};

}  // namespace kernelites::worker
