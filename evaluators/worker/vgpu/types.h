// SPDX-License-Identifier: Apache-2.0
// The fixed-width names that PTX itself uses, and the size of a warp.
#pragma once

#include <cstdint>
#include <cstring>

namespace kernelites::worker::vgpu {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

__extension__ using i128 = __int128;
__extension__ using u128 = unsigned __int128;

/// State spaces of PTX; `generic` means that the address decides, `cluster` is .shared::cluster.
enum class Space : u8 { generic, global, shared, local, parameter, constant, cluster };

/// One bit per lane of a warp.
using Mask = u32;
inline constexpr u32 k_lanes = 32;
inline constexpr Mask k_all_lanes = ~Mask{0};

/// The bits of `from` read as a `To` of the same size.
template <class To, class From>
inline To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

}  // namespace kernelites::worker::vgpu
