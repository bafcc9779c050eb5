// SPDX-License-Identifier: Apache-2.0
// From the addresses of a warp to checked host pointers: bounds, alignment, initialisation, races, counts.
//
// For handler files only, like lanes.h.
#pragma once

#include "evaluators/worker/vgpu/lanes.h"

#pragma GCC push_options
#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {

enum class Use : u8 { load, store, atomic };

/// Checked memory of some lanes of a warp: lane l's bytes begin at base + offsets[l]. Lanes outside the mask have
/// the offset of an active one, so that reading all 32 is always safe.
struct Access {
  u8* base = nullptr;
  alignas(32) u32 offsets[k_lanes];
  bool is_contiguous = false;  ///< all lanes active, offsets[l] == offsets[0] + l * bytes
  bool is_uniform = false;     ///< all offsets equal
  u32 stride = 0;  ///< all lanes active, offsets[l] == offsets[0] + l * stride; 0 if there is none
};

/// Resolves shared addresses that the caller has put into access.offsets. `bytes` is a power of two. Throws Raised.
void resolve_shared(Warp& warp, const Instruction& i, Mask mask, u32 bytes, Use use, Access& access);
/// The same in the memory of a block of the cluster.
void resolve_memory(Warp& warp, Block& memory, const Instruction& i, Mask mask, u32 bytes, Use use,
                    Access& access);
/// Resolves those lanes of `mask` whose addresses name the same block of the cluster as the first; returns them.
Mask resolve_in_cluster(Warp& warp, const Instruction& i, const u64* addresses, Mask mask, u32 bytes, Use use,
                        Access& access);
/// Resolves those lanes of `mask` that lie in the same region as the first; returns them.
Mask resolve_part(Warp& warp, const Instruction& i, Space space, const u64* addresses, Mask mask, u32 bytes,
                  Use use, Access& access);

/// Throws Raised if the store that Block::overwrite tells of has changed memory. REQUIRES: there is one. To be called
/// behind the store.
void settle_overwrite(Warp& warp);
inline void settle_store(Warp& warp) {
  if (warp.block->overwrite) [[unlikely]]
    settle_overwrite(warp);
}

/// Memory changed, or something else that a spinning warp may wait for.
inline void note_change(Warp& warp) {
  if (LaunchState* const state = warp.context->state; state != nullptr) ++state->changes;
}

/// Addresses of a memory operand: register plus offset.
inline void read_addresses(Warp& warp, const Instruction& i, u64* addresses) {
  const u64 offset = static_cast<u64>(static_cast<i64>(i.offset));
  if ((i.flags & k_narrow_address) != 0) {
    const u32* a = lanes_of<u32>(warp, i.a);
    KERNELITES_LANES(l) addresses[l] = static_cast<u32>(a[l] + static_cast<u32>(offset));
  } else {
    const u64* a = lanes_of<u64>(warp, i.a);
    KERNELITES_LANES(l) addresses[l] = a[l] + offset;
  }
}

/// Calls body(access, lanes) for parts of the mask that together are the mask. Instruction::mode is the space.
template <class Body>
void for_each_part(Warp& warp, const Instruction& i, Mask mask, u32 bytes, Use use, Body body) {
  Access access;
  const Space space = static_cast<Space>(i.mode);
  if (space == Space::shared && (i.flags & k_narrow_address) != 0) {
    const u32* a = lanes_of<u32>(warp, i.a);
    KERNELITES_LANES(l) access.offsets[l] = a[l] + static_cast<u32>(i.offset);
    resolve_shared(warp, i, mask, bytes, use, access);
    body(access, mask);
    if (use == Use::store) settle_store(warp);
    return;
  }
  u64 addresses[k_lanes];
  read_addresses(warp, i, addresses);
  for (Mask rest = mask; rest != 0;) {
    const Mask part = resolve_part(warp, i, space, addresses, rest, bytes, use, access);
    body(access, part);
    if (use == Use::store) settle_store(warp);
    rest &= ~part;
  }
}

/// Reads one T per lane, for all 32 lanes.
template <class T>
inline void gather(const Access& access, u32 displacement, T* out) {
  const u8* base = access.base + displacement;
  if (access.is_uniform) {
    T value;
    std::memcpy(&value, base + access.offsets[0], sizeof value);
    KERNELITES_LANES(l) out[l] = value;
    return;
  }
  if constexpr (sizeof(T) == 4) {
    for (u32 l = 0; l < k_lanes; l += 8) {
      const __m256i index = _mm256_load_si256(reinterpret_cast<const __m256i*>(access.offsets + l));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + l),
                          _mm256_i32gather_epi32(reinterpret_cast<const int*>(base), index, 1));
    }
  } else {
    KERNELITES_LANES(l) std::memcpy(out + l, base + access.offsets[l], sizeof(T));
  }
}

/// Writes one T per active lane, in lane order.
template <class T>
inline void scatter(const Access& access, u32 displacement, const T* values, Mask mask) {
  u8* base = access.base + displacement;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 l = lowest_lane(rest);
    std::memcpy(base + access.offsets[l], values + l, sizeof(T));
  }
}

}  // namespace kernelites::worker::vgpu

#pragma GCC pop_options
