// SPDX-License-Identifier: Apache-2.0
// Taking turns at a device: two programs that time kernels on one GPU at once disturb each other.
#pragma once

#include <chrono>
#include <filesystem>

namespace kernelites {

/// Holds a lock file from construction to destruction; the system drops it when the process ends.
class DeviceTurn {
 public:
  /// Waits for its turn at most `patience`. Throws Error if it does not come or the file cannot be used. An empty
  /// `file` locks nothing.
  DeviceTurn(const std::filesystem::path& file, std::chrono::milliseconds patience);
  ~DeviceTurn();
  DeviceTurn(const DeviceTurn&) = delete;

 private:
  int descriptor_ = -1;
};

/// Of this user, for all GPUs that a process can see.
std::filesystem::path device_turn_file();

}  // namespace kernelites
