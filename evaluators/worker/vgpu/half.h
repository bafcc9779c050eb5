// SPDX-License-Identifier: Apache-2.0
// Narrow floating-point formats: f16 and bf16 registers to float and back, rounding as PTX defines it.
//
// For handler files only, like lanes.h. fp8 is in fp8.h.
#pragma once

#include <cmath>

#include "evaluators/worker/vgpu/lanes.h"

#pragma GCC push_options
#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {

/// The NaN of f16 and bf16 results: payloads are not kept.
inline constexpr u16 k_narrow_nan = 0x7fff;

/// IEEE half precision.
struct F16 {
  static constexpr float k_least_normal = 0x1p-14f;
  static constexpr u16 k_exponent = 0x7c00;

  static float to_float(u16 bits) { return _cvtsh_ss(bits); }
  static u16 from_float(float value) {
    return value != value ? k_narrow_nan : static_cast<u16>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT));
  }

  /// `count` values, a multiple of 8.
  static void to_floats(const u16* from, float* to, u32 count) {
    for (u32 k = 0; k < count; k += 8) {
      _mm256_storeu_ps(to + k, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + k))));
    }
  }
  static void from_floats(const float* from, u16* to, u32 count) {
    for (u32 k = 0; k < count; k += 8) {
      const __m128i bits = _mm256_cvtps_ph(_mm256_loadu_ps(from + k), _MM_FROUND_TO_NEAREST_INT);
      const __m128i magnitude = _mm_and_si128(bits, _mm_set1_epi16(0x7fff));
      const __m128i is_nan = _mm_cmpgt_epi16(magnitude, _mm_set1_epi16(0x7c00));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + k),
                       _mm_blendv_epi8(bits, _mm_set1_epi16(k_narrow_nan), is_nan));
    }
  }
};

/// bfloat16: the upper half of a float, round to nearest even.
struct BF16 {
  static constexpr float k_least_normal = 0x1p-126f;
  static constexpr u16 k_exponent = 0x7f80;

  static float to_float(u16 bits) { return bits_as<float>(u32{bits} << 16); }
  static u16 from_float(float value) {
    const u32 bits = bits_as<u32>(value);
    const u32 rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return static_cast<u16>((bits & 0x7fffffff) > 0x7f800000 ? k_narrow_nan : rounded);
  }
  static void to_floats(const u16* from, float* to, u32 count) {
    for (u32 k = 0; k < count; ++k) to[k] = to_float(from[k]);
  }
  static void from_floats(const float* from, u16* to, u32 count) {
    for (u32 k = 0; k < count; ++k) to[k] = from_float(from[k]);
  }
};

/// A double rounded to float such that rounding on to a narrower format gives what rounding the double would
/// (round to odd: toward zero, and the last bit of an inexact result is set).
inline float round_to_odd(double value) {
  const float nearest = static_cast<float>(value);
  const u32 bits = bits_as<u32>(nearest);
  const double error = value - static_cast<double>(nearest);
  if (error == 0.0 || value != value || std::isinf(value)) return nearest;
  const bool is_away = std::fabs(static_cast<double>(nearest)) > std::fabs(value);
  return bits_as<float>((bits - is_away) | 1u);
}

/// How a conversion rounds; `away`: to nearest, ties away from zero.
enum class Rounding : u8 { nearest, zero, down, up, away };

/// A number to f16 or bf16 bits in a rounding mode.
template <class Format>
inline u16 narrow(double value, Rounding rounding) {
  const u16 bits = Format::from_float(round_to_odd(value));
  if (rounding == Rounding::nearest || value != value) return bits;
  const double found = static_cast<double>(Format::to_float(bits));
  const bool is_negative = (bits & 0x8000u) != 0;
  const int outward = is_negative ? (found > value   ? 1
                                     : found < value ? -1
                                                     : 0)
                                  : (found < value   ? 1
                                     : found > value ? -1
                                                     : 0);  // where the value lies, in magnitude
  const bool wants_inward = rounding == Rounding::zero || is_negative == (rounding == Rounding::up);
  if (outward < 0 && wants_inward) return static_cast<u16>(bits - 1);
  if (outward > 0 && !wants_inward) return static_cast<u16>(bits + 1);
  return bits;
}

/// .satfinite: what would be infinite becomes the largest finite number; NaN stays NaN.
template <class Format>
inline u16 narrow_finite(double value, Rounding rounding) {
  const u16 bits = narrow<Format>(value, rounding);
  return std::isinf(Format::to_float(bits)) ? static_cast<u16>(bits - 1) : bits;
}

}  // namespace kernelites::worker::vgpu

#pragma GCC pop_options
