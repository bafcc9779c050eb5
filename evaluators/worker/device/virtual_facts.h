// SPDX-License-Identifier: Apache-2.0
// What the virtual GPU says of itself, and what its addresses are drawn from.
#pragma once

#include <sys/auxv.h>

#include <cstdint>
#include <cstring>

#include "engine/core/device_facts.h"

namespace kernelites::worker {

inline constexpr std::int64_t k_virtual_memory_bytes = std::int64_t{80} << 30;

/// An H100 with what a copy reaches on it.
inline DeviceFacts virtual_facts() {
  DeviceFacts facts{.kind = "vgpu (models H100)", .is_virtual = true, .architecture = "sm_90a"};
  facts.memory_bytes = k_virtual_memory_bytes;
  facts.memory_gb_per_s = 3000;
  return facts;
}

/// Eight bytes that the kernel drew for this process: no candidate can know the addresses that follow from them.
inline std::uint64_t process_secret() {
  std::uint64_t secret = 0;
  if (const auto* bytes = reinterpret_cast<const void*>(::getauxval(AT_RANDOM)); bytes != nullptr)
    std::memcpy(&secret, bytes, sizeof secret);
  return secret;
}

}  // namespace kernelites::worker
