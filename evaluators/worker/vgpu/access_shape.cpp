// SPDX-License-Identifier: Apache-2.0
// Shapes of accesses, eight lanes at a time.
#include "evaluators/worker/vgpu/access_shape.h"

#include <array>

#include <fmt/core.h>

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

/// The longest contiguous access of a warp: 32 lanes of 32 bytes.
constexpr std::size_t k_longest_span = 1024;
constexpr std::array<u8, k_longest_span> k_all_written = [] {
  std::array<u8, k_longest_span> bytes{};
  bytes.fill(k_written);
  return bytes;
}();

bool all_bytes_written(const u8* state, u32 bytes) {
  return std::memcmp(state, k_all_written.data(), bytes) == 0;
}

}  // namespace

const char* verb(Use use) {
  return use == Use::load ? "read" : use == Use::store ? "write" : "atomic update";
}

void fault_misaligned(u32 lane, u32 bytes, Use use, const std::string& where, u64 offset) {
  raise(FaultKind::misaligned, lane,
        fmt::format("{} of {} bytes at byte offset {} of {}, which is not a multiple of {}", verb(use), bytes,
                    offset, where, bytes));
}

u32 first_misaligned(const Access& access, Mask mask, u32 bytes) {
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    if ((access.offsets[lowest_lane(rest)] & (bytes - 1)) != 0) return lowest_lane(rest);
  }
  return lowest_lane(mask);
}

Offense finish_offsets(Access& access, Mask mask, u32 bytes, u32 limit) {
  const __m256i lane_bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i first = _mm256_set1_epi32(static_cast<int>(access.offsets[lowest_lane(mask)]));
  const u32 step = access.offsets[1] - access.offsets[0];
  const __m256i steps = _mm256_set1_epi32(static_cast<int>(8 * bytes)),
                strides = _mm256_set1_epi32(static_cast<int>(8 * step));
  const __m256i beyond = _mm256_set1_epi32(static_cast<int>(limit + 1));
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  __m256i on_line =
      _mm256_add_epi32(first, _mm256_mullo_epi32(lanes, _mm256_set1_epi32(static_cast<int>(bytes))));
  __m256i on_stride =
      _mm256_add_epi32(first, _mm256_mullo_epi32(lanes, _mm256_set1_epi32(static_cast<int>(step))));
  __m256i off_line = _mm256_setzero_si256(), off_first = off_line, off_stride = off_line, any = off_line,
          outside = off_line;
  for (u32 l = 0; l < k_lanes; l += 8) {
    __m256i* slot = reinterpret_cast<__m256i*>(access.offsets + l);
    __m256i offset = _mm256_load_si256(slot);
    if (mask != k_all_lanes) {
      const __m256i bits = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(mask >> l)), lane_bits);
      offset = _mm256_blendv_epi8(first, offset, _mm256_cmpeq_epi32(bits, lane_bits));
      _mm256_store_si256(slot, offset);
    }
    off_line = _mm256_or_si256(off_line, _mm256_xor_si256(offset, on_line));
    off_stride = _mm256_or_si256(off_stride, _mm256_xor_si256(offset, on_stride));
    off_first = _mm256_or_si256(off_first, _mm256_xor_si256(offset, first));
    any = _mm256_or_si256(any, offset);
    outside = _mm256_or_si256(outside, _mm256_cmpeq_epi32(_mm256_max_epu32(offset, beyond), offset));
    on_line = _mm256_add_epi32(on_line, steps);
    on_stride = _mm256_add_epi32(on_stride, strides);
  }
  const bool is_whole = mask == k_all_lanes;
  access.is_contiguous = is_whole && _mm256_testz_si256(off_line, off_line) != 0;
  access.is_uniform = _mm256_testz_si256(off_first, off_first) != 0;
  access.stride = is_whole && _mm256_testz_si256(off_stride, off_stride) != 0 ? step : 0;
  return {.is_outside = _mm256_testz_si256(outside, outside) == 0,
          .is_misaligned = _mm256_testz_si256(any, _mm256_set1_epi32(static_cast<int>(bytes - 1))) == 0};
}

bool has_unwritten(const u8* state, const Access& access, Mask mask, u32 bytes, u32& lane) {
  if (access.is_contiguous || access.is_uniform) {
    const u32 span = access.is_contiguous ? bytes * k_lanes : bytes;
    if (all_bytes_written(state + access.offsets[0], span)) return false;
  } else if (bytes == 4) {
    Access words = access;
    words.base = const_cast<u8*>(state);
    u32 values[k_lanes], differs = 0;
    gather(words, 0, values);
    KERNELITES_LANES(l) differs |= values[l] ^ (0x01010101u * k_written);
    if (differs == 0) return false;
  }
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    lane = lowest_lane(rest);
    if (!all_bytes_written(state + access.offsets[lane], bytes)) return true;
  }
  return false;
}

void set_state(u8* state, const Access& access, Mask mask, u32 bytes, u8 value) {
  if (access.is_contiguous || access.is_uniform) {
    std::memset(state + access.offsets[0], value, access.is_contiguous ? bytes * k_lanes : bytes);
    return;
  }
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    std::memset(state + access.offsets[lowest_lane(rest)], value, bytes);
  }
}

u32 first_unwritten(const u8* state, u32 bytes) {
  u32 k = 0;
  while (k < bytes && state[k] == k_written) ++k;
  return k;
}

}  // namespace kernelites::worker::vgpu
