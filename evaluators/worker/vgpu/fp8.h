// SPDX-License-Identifier: Apache-2.0
// The eight-bit floats of Ada and Hopper: e4m3 (no infinity, NaN is 0x7f) and e5m2 (IEEE-like).
#pragma once

#include <algorithm>
#include <cmath>

#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

/// `ExponentBits` 4 (e4m3) or 5 (e5m2).
template <int ExponentBits>
inline float fp8_to_float(u8 bits) {
  constexpr int k_mantissa = 7 - ExponentBits, k_bias = (1 << (ExponentBits - 1)) - 1;
  const int exponent = (bits & 127) >> k_mantissa, mantissa = bits & ((1 << k_mantissa) - 1);
  float value;
  if (ExponentBits == 4 && (bits & 127) == 127) {
    value = NAN;
  } else if (ExponentBits == 5 && exponent == 31) {
    value = mantissa == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(mantissa), 1 - k_bias - k_mantissa);
  } else {
    value = std::ldexp(static_cast<float>(mantissa + (1 << k_mantissa)), exponent - k_bias - k_mantissa);
  }
  return (bits & 128) != 0 ? -value : value;
}

/// Round to nearest even, saturating to the largest finite value (.satfinite, the only form in PTX).
template <int ExponentBits>
inline u8 fp8_from_float(float value) {
  constexpr int k_mantissa = 7 - ExponentBits, k_bias = (1 << (ExponentBits - 1)) - 1;
  constexpr u8 k_largest = ExponentBits == 4 ? 0x7e : 0x7b;
  const u8 sign = std::signbit(value) ? 128 : 0;
  if (std::isnan(value)) return 0x7f;  // PTX gives the positive canonical NaN
  const float magnitude = std::fabs(value);
  if (magnitude >= fp8_to_float<ExponentBits>(k_largest)) return static_cast<u8>(sign | k_largest);
  if (magnitude == 0) return sign;
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  const int scale = std::max(exponent - 1, 1 - k_bias) - k_mantissa;  // of the last mantissa bit
  const int units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, -scale)));
  // `units` counts last bits: carrying into the next binade is what the encoding does by itself.
  const int binade = (scale + k_mantissa) - (1 - k_bias);
  const int code = (binade << k_mantissa) + units;
  return static_cast<u8>(sign | std::min<int>(code, k_largest));
}

}  // namespace kernelites::worker::vgpu
