// SPDX-License-Identifier: Apache-2.0
// A file as a stream of bytes, unpacked where it is gzipped.
#pragma once

#include <filesystem>
#include <memory>
#include <streambuf>
#include <vector>

struct gzFile_s;

namespace kernelites {

/// Read from front to back; a file that is not gzipped is read as it is.
class GzipBuffer : public std::streambuf {
 public:
  /// Throws ConfigError if the file cannot be opened.
  explicit GzipBuffer(const std::filesystem::path& file);
  /// What went wrong while unpacking, in words; empty: nothing.
  std::string problem() const;

 protected:
  int_type underflow() override;

 private:
  struct Close {
    void operator()(gzFile_s* file) const;
  };
  std::unique_ptr<gzFile_s, Close> file_;
  std::vector<char> block_;
  std::string problem_;
};

}  // namespace kernelites
