// SPDX-License-Identifier: Apache-2.0
// A file as a stream of bytes, unpacked where it is gzipped.
#include "tools/rank/gzip_stream.h"

#include <zlib.h>

#include "engine/core/error.h"

namespace kernelites {

void GzipBuffer::Close::operator()(gzFile_s* file) const { gzclose(file); }

GzipBuffer::GzipBuffer(const std::filesystem::path& file)
    : file_(gzopen(file.c_str(), "rb")), block_(1 << 18) {
  if (!file_) throw ConfigError(file.string(), "", "this trace cannot be read");
  gzbuffer(file_.get(), 1 << 17);
}

std::string GzipBuffer::problem() const { return problem_; }

GzipBuffer::int_type GzipBuffer::underflow() {
  if (gptr() < egptr()) return traits_type::to_int_type(*gptr());
  const int read = gzread(file_.get(), block_.data(), static_cast<unsigned>(block_.size()));
  int code = Z_OK;
  // A packed file that was cut short gives what there is of it, and the error with it.
  const char* const words = gzerror(file_.get(), &code);
  if (code != Z_OK && code != Z_STREAM_END) problem_ = words;
  if (read <= 0) return traits_type::eof();
  setg(block_.data(), block_.data(), block_.data() + read);
  return traits_type::to_int_type(*gptr());
}

}  // namespace kernelites
