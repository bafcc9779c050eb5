// SPDX-License-Identifier: Apache-2.0
// How an H100's tensor core adds: what mma.sync and wmma do with f16, bf16 and tf32 factors, bit by bit.
//
// One step adds up to 16 products and the accumulator at once. Products are exact. Every term is aligned to the largest
// exponent among them, where a product's exponent is the sum of its factors' (not normalised), and cut off toward zero
// 25 bits below it. The sum of what is left is exact and then rounded once: toward zero to f32, to nearest to f16.
// wgmma on 16-bit and tf32 factors adds in the same way. On fp8 it adds 32 products in one step, cut off 13 bits
// below the largest exponent, and keeps 13 bits behind the leading one of a sum in f32.
// Found by comparing models with recorded results (tests/vgpu/recorded, families "mma.sync"): no value differs.
#pragma once

#include <algorithm>
#include <cmath>

#include "evaluators/worker/vgpu/half.h"

#pragma GCC push_options
#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {

using Floats = float __attribute__((vector_size(32)));
using Integers = i32 __attribute__((vector_size(32)));

inline constexpr u32 k_sum_bits = 25;  ///< kept below the largest exponent
inline constexpr u32 k_fp8_sum_bits =
    13;  ///< the same of wgmma on fp8, whose f32 sums have no more bits either
inline constexpr u32 k_step_depth = 16;  ///< most products of one step
inline constexpr i32 k_zero_exponent = -2000, k_special_exponent = 8000;
inline constexpr i32 k_fast_exponent = 98;  ///< beyond it scaling by a power of two would leave float

/// Exponent of a factor or accumulator: `least` for denormals, far away for zero, infinity and NaN.
inline i32 tensor_exponent(float value, i32 least) {
  const u32 bits = bits_as<u32>(value) & 0x7fffffffu;
  if (bits == 0) return k_zero_exponent;
  if (bits >= 0x7f800000u) return k_special_exponent;
  const i32 exponent = static_cast<i32>(bits >> 23) - 127;
  return exponent < least ? least : exponent;
}
inline Integers tensor_exponents(Floats values, i32 least) {
  const Integers bits = reinterpret_cast<Integers>(values) & 0x7fffffff;
  Integers exponent = (bits >> 23) - 127;
  exponent = exponent < least ? Integers{} + least : exponent;
  exponent = bits == 0 ? Integers{} + k_zero_exponent : exponent;
  return bits >= 0x7f800000 ? Integers{} + k_special_exponent : exponent;
}

/// Factors of one step: a row of A against eight columns of B.
struct TensorStep {
  const float* a;
  const i32* a_exponents;
  const Floats* b;
  const Integers* b_exponents;
  u32 depth;              ///< products, at most k_step_depth
  i32 least;              ///< exponent of the least normal number of the accumulator's format
  bool to_half;           ///< round to f16 (as a float) instead of cutting to f32
  u32 bits = k_sum_bits;  ///< kept below the largest exponent; fewer where there are more products
};

/// One value of a step, for whatever the fast way below cannot hold.
inline float tensor_sum_exactly(const TensorStep& step, float c, u32 column) {
  i32 largest = tensor_exponent(c, step.least);
  double plain = static_cast<double>(c);
  for (u32 k = 0; k < step.depth; ++k) {
    largest = std::max(largest, step.a_exponents[k] + step.b_exponents[k][column]);
    plain += static_cast<double>(step.a[k]) * static_cast<double>(step.b[k][column]);
  }
  if (plain != plain) return bits_as<float>(0x7fffffffu);
  if (std::isinf(plain)) return static_cast<float>(plain);
  if (largest < k_zero_exponent / 2) return 0.0f;
  const int scale = static_cast<int>(step.bits) - largest;
  double sum = std::trunc(std::ldexp(static_cast<double>(c), scale));
  for (u32 k = 0; k < step.depth; ++k) {
    const double product = static_cast<double>(step.a[k]) * static_cast<double>(step.b[k][column]);
    sum += std::trunc(std::ldexp(product, scale));
  }
  sum = std::ldexp(sum, -scale);
  if (sum == 0) return 0.0f;  // a zero is positive
  if (std::fabs(sum) >= 0x1p128) return std::copysign(INFINITY, static_cast<float>(sum));
  if (step.to_half) return F16::to_float(F16::from_float(round_to_odd(sum))) + 0.0f;
  const float near = static_cast<float>(sum);
  const bool is_away = std::fabs(static_cast<double>(near)) > std::fabs(sum);
  const float cut = bits_as<float>(bits_as<u32>(near) - is_away);
  return cut == 0 ? 0.0f : cut;  // a zero is positive
}

/// Four sums times a power of two, cut to f32; `odd` marks what was cut off in the last bit instead.
inline __m128 cut_to_float(__m256d sum, bool odd) {
  const __m128 cut = _mm256_cvtpd_ps(sum);
  if (!odd) return cut;
  const __m256d is_inexact = _mm256_cmp_pd(_mm256_cvtps_pd(cut), sum, _CMP_NEQ_UQ);
  const __m256i lanes =
      _mm256_permutevar8x32_epi32(_mm256_castpd_si256(is_inexact), _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
  return _mm_or_ps(
      cut, _mm_and_ps(_mm_castsi128_ps(_mm256_castsi256_si128(lanes)), _mm_castsi128_ps(_mm_set1_epi32(1))));
}

/// c + the products of one step, for eight columns. REQUIRES: the rounding mode is toward zero.
inline Floats tensor_sum(const TensorStep& step, Floats c) {
  Integers largest = tensor_exponents(c, step.least);
  for (u32 k = 0; k < step.depth; ++k) {
    const Integers exponent = step.b_exponents[k] + step.a_exponents[k];
    largest = reinterpret_cast<Integers>(
        _mm256_max_epi32(reinterpret_cast<__m256i>(largest), reinterpret_cast<__m256i>(exponent)));
  }
  largest = largest < k_zero_exponent / 2 ? Integers{} : largest;  // nothing but zeros
  const Integers is_outside = (largest > k_fast_exponent) | (largest < -k_fast_exponent);
  Floats result;
  if (_mm256_movemask_epi8(reinterpret_cast<__m256i>(is_outside)) != 0) {
    for (u32 column = 0; column < 8; ++column) result[column] = tensor_sum_exactly(step, c[column], column);
    return result;
  }
  const Floats scale = reinterpret_cast<Floats>((static_cast<i32>(step.bits) + 127 - largest) << 23);
  const Floats unscale = reinterpret_cast<Floats>((127 - static_cast<i32>(step.bits) + largest) << 23);
  Integers sum{};
  for (u32 k = 0; k < step.depth; ++k) {  // below 2^27 each, so that sixteen fit
    const Floats product = step.a[k] * step.b[k] * scale;
    sum += reinterpret_cast<Integers>(_mm256_cvttps_epi32(reinterpret_cast<__m256>(product)));
  }
  const __m256i terms = reinterpret_cast<__m256i>(sum),
                own = _mm256_cvttps_epi32(reinterpret_cast<__m256>(c * scale));
  const __m256d low = _mm256_add_pd(_mm256_cvtepi32_pd(_mm256_castsi256_si128(terms)),
                                    _mm256_cvtepi32_pd(_mm256_castsi256_si128(own)));
  const __m256d high = _mm256_add_pd(_mm256_cvtepi32_pd(_mm256_extracti128_si256(terms, 1)),
                                     _mm256_cvtepi32_pd(_mm256_extracti128_si256(own, 1)));
  const __m256 cut = _mm256_set_m128(cut_to_float(high, step.to_half), cut_to_float(low, step.to_half));
  result = reinterpret_cast<Floats>(cut) * unscale;
  if (step.to_half) {
    float values[8];
    u16 halves[8];
    std::memcpy(values, &result, sizeof values);
    F16::from_floats(values, halves, 8);
    F16::to_floats(halves, values, 8);
    std::memcpy(&result, values, sizeof values);
    result += 0.0f;  // a zero is positive
  }
  return result;
}

/// Rounds toward zero while it lives, as `tensor_sum` needs it.
class TowardZero {
 public:
  TowardZero() : control_(_mm_getcsr()) {
    _mm_setcsr((control_ & ~u32{_MM_ROUND_MASK}) | _MM_ROUND_TOWARD_ZERO);
  }
  TowardZero(const TowardZero&) = delete;
  TowardZero& operator=(const TowardZero&) = delete;
  ~TowardZero() { _mm_setcsr(control_); }

 private:
  u32 control_;
};

}  // namespace kernelites::worker::vgpu

#pragma GCC pop_options
