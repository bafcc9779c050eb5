// SPDX-License-Identifier: Apache-2.0
// mkostemp, fsync, rename.
#include "tools/dataset/whole_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <system_error>

#include "engine/core/error.h"

namespace kernelites {

namespace fs = std::filesystem;

WholeFile::WholeFile(const fs::path& file) : file_(file), draft_(file.string() + ".XXXXXX") {
  const int descriptor = ::mkostemp(draft_.data(), O_CLOEXEC);
  if (descriptor >= 0) stream_ = ::fdopen(descriptor, "wb");
  if (stream_ != nullptr) return;
  if (descriptor >= 0) {
    ::close(descriptor);
    ::unlink(draft_.c_str());
  }
  throw ConfigError("--out", file.string(), "cannot be written");
}

WholeFile::~WholeFile() {
  if (stream_ == nullptr) return;
  std::fclose(stream_);
  ::unlink(draft_.c_str());
}

void WholeFile::fail(const char* what) {
  if (stream_ != nullptr) std::fclose(stream_);
  stream_ = nullptr;
  ::unlink(draft_.c_str());
  throw Error(fmt::format("{} cannot be {}", file_.string(), what));
}

void WholeFile::add(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stream_) != text.size()) fail("written");
}

void WholeFile::finish() {
  // As others make files: mkostemp's are for their owner alone.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  const bool is_synced = std::fflush(stream_) == 0 && ::fchmod(::fileno(stream_), 0666 & ~mask) == 0 &&
                         ::fsync(::fileno(stream_)) == 0;
  if (!is_synced) fail("written");
  const int closed = std::fclose(stream_);
  stream_ = nullptr;
  std::error_code problem;
  if (closed == 0) fs::rename(draft_, file_, problem);
  if (closed != 0 || problem) fail("put in its place");
}

}  // namespace kernelites
