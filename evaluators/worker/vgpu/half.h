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

/// IEEE half precision.
struct F16 {
  static float to_float(u16 bits) { return _cvtsh_ss(bits); }
  static u16 from_float(float value) { return static_cast<u16>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT)); }

  /// `count` values, a multiple of 8.
  static void to_floats(const u16* from, float* to, u32 count) {
    for (u32 k = 0; k < count; k += 8) {
      _mm256_storeu_ps(to + k, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + k))));
    }
  }
  static void from_floats(const float* from, u16* to, u32 count) {
    for (u32 k = 0; k < count; k += 8) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + k),
                       _mm256_cvtps_ph(_mm256_loadu_ps(from + k), _MM_FROUND_TO_NEAREST_INT));
    }
  }
};

/// bfloat16: the upper half of a float, round to nearest even.
struct BF16 {
  static float to_float(u16 bits) { return bits_as<float>(u32{bits} << 16); }
  static u16 from_float(float value) {
    const u32 bits = bits_as<u32>(value);
    const u32 rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return static_cast<u16>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : rounded);
  }
  static void to_floats(const u16* from, float* to, u32 count) {
    for (u32 k = 0; k < count; ++k) to[k] = to_float(from[k]);
  }
  static void from_floats(const float* from, u16* to, u32 count) {
    for (u32 k = 0; k < count; ++k) to[k] = from_float(from[k]);
  }
};

/// A double rounded to float such that rounding on to a narrower format gives what rounding the double would
/// (round to odd: the last bit of an inexact result is set).
inline float round_to_odd(double value) {
  const float nearest = static_cast<float>(value);
  const double error = value - static_cast<double>(nearest);
  const u32 bits = bits_as<u32>(nearest);
  const bool is_adjusted = error != 0.0 && (bits & 1) == 0 && std::isfinite(nearest);
  const bool is_away = (error > 0) == (nearest > 0);
  return is_adjusted ? bits_as<float>(is_away ? bits + 1 : bits - 1) : nearest;
}

}  // namespace kernelites::worker::vgpu

#pragma GCC pop_options
