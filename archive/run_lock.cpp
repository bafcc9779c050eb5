// SPDX-License-Identifier: Apache-2.0
// flock(2) on a file of its own: closing any descriptor of run.db would drop SQLite's own POSIX locks on it.
#include "archive/run_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "engine/core/error.h"

namespace kernelites {
namespace {

/// The process id that a holder wrote: digits up to a line end; "another process" if there is none yet.
std::string holder(int fd) {
  char text[24] = {};
  const ssize_t size = pread(fd, text, sizeof text - 1, 0);
  std::string digits;
  for (ssize_t i = 0; i < size && text[i] >= '0' && text[i] <= '9'; ++i) digits += text[i];
  return digits.empty() ? "another process" : "process " + digits;
}

/// Whoever asks `is_written_now` holds the lock for an instant: a writer waits for that much.
constexpr int k_tries = 5;
constexpr std::chrono::milliseconds k_try_wait{20};

bool take(int fd) {
  for (int i = 1; flock(fd, LOCK_EX | LOCK_NB) != 0; ++i) {
    if (errno != EWOULDBLOCK || i == k_tries) return false;
    std::this_thread::sleep_for(k_try_wait);
  }
  return true;
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "run.lock";
  // CLOEXEC: a worker that outlives a killed controller must not keep the run locked.
  fd_ = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) throw Error(fmt::format("{}: open: {}", file.string(), std::strerror(errno)));
  if (!take(fd_)) {
    const int cause = errno;
    const std::string other = holder(fd_);
    close(fd_);
    if (cause != EWOULDBLOCK) throw Error(fmt::format("{}: lock: {}", file.string(), std::strerror(cause)));
    throw ConfigError(folder.string(), "", fmt::format("the run is in use by {}", other));
  }
  const std::string self = std::to_string(getpid()) + "\n";
  // The number only serves the message above, so a full disk must not stop a run here.
  if (ftruncate(fd_, 0) == 0) {
    [[maybe_unused]] const ssize_t written = pwrite(fd_, self.data(), self.size(), 0);
  }
}

RunLock::~RunLock() { close(fd_); }

bool is_written_now(const std::filesystem::path& folder) {
  const int fd = open((folder / "run.lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool is_held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  close(fd);
  return is_held;
}

}  // namespace kernelites
