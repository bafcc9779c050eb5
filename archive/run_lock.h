// SPDX-License-Identifier: Apache-2.0
// One writer per run: an advisory lock on `run.lock`, which the system drops when its process ends, however
// it ends.
#pragma once

#include <filesystem>

namespace kernelites {

/// Held while it lives. The file stays (removing it would race with the next writer) and names the last
/// writer.
class RunLock {
 public:
  /// Throws ConfigError naming the other process if the run is in use, Error if the file cannot be made.
  explicit RunLock(const std::filesystem::path& folder);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int fd_ = -1;
};

/// Whether a process writes the run of this folder now. False where there is none.
bool is_written_now(const std::filesystem::path& folder);

}  // namespace kernelites
