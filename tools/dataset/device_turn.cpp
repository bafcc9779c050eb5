// SPDX-License-Identifier: Apache-2.0
// A lock file with a deadline.
#include "tools/dataset/device_turn.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "engine/core/error.h"

namespace kernelites {

DeviceTurn::DeviceTurn(const std::filesystem::path& file, std::chrono::milliseconds patience) {
  if (file.empty()) return;
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor_ < 0) throw Error(fmt::format("{}: {}", file.string(), std::strerror(errno)));
  const auto until = std::chrono::steady_clock::now() + patience;
  while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (std::chrono::steady_clock::now() >= until) {
      ::close(descriptor_);
      throw Error(fmt::format("{}: another program has held the device for too long", file.string()));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

DeviceTurn::~DeviceTurn() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::filesystem::path device_turn_file() {
  return std::filesystem::temp_directory_path() / fmt::format("kernelites-device-{}.lock", ::geteuid());
}

}  // namespace kernelites
