// SPDX-License-Identifier: Apache-2.0
// Device memory that the referee needs for moments: rows, expected values, results, digests.
//
// Reserving, mapping and unmapping a small buffer takes a real device about as long as a check takes for all else. So
// small mappings are kept and used again. Nobody but the referee ever sees them.
#pragma once

#include <cstdint>
#include <vector>

#include "evaluators/worker/device/device.h"

namespace kernelites::worker {

/// The mappings that are kept. Borrows the device, which outlives it.
class ScratchMemory {
 public:
  explicit ScratchMemory(Device& device) : device_(device) {}

  /// At least one byte, of undefined content. Throws Error if the device has no memory.
  Buffer take(std::int64_t bytes, const char* name);
  /// Of `take`.
  void give_back(const Buffer& buffer);
  Device& device() { return device_; }

 private:
  bool is_kept(std::int64_t bytes) const;

  Device& device_;
  std::vector<Buffer> idle_;  ///< all of one size
};

/// What one command takes, until its end.
class Scratch {
 public:
  explicit Scratch(ScratchMemory& memory) : memory_(memory) {}
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  Buffer take(std::int64_t bytes, const char* name);
  /// Owns a mapping that was made elsewhere.
  Buffer keep(const Buffer& mapping);

 private:
  ScratchMemory& memory_;
  std::vector<Buffer> taken_, kept_;
};

}  // namespace kernelites::worker
