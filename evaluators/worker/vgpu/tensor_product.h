// SPDX-License-Identifier: Apache-2.0
// What mma.sync and wgmma share: element formats, fragments of factors and accumulators, the product of floats.
//
// For handler files only, like lanes.h. tensor_sum.h says how floats are added.
#pragma once

#include "evaluators/worker/vgpu/fp8.h"
#include "evaluators/worker/vgpu/half.h"
#include "evaluators/worker/vgpu/lanes.h"
#include "evaluators/worker/vgpu/tensor_sum.h"

#pragma GCC push_options
#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {

inline constexpr u32 k_rows_a = 16, k_columns = 8, k_max_depth = 64;

// How registers unpack into E values per lane, contiguous by lane, and any elements that lie one behind the other;
// k_least: exponent of the least normal number.
template <class Format>
struct HalfElements {
  using Value = float;
  using Vector = Floats;
  static constexpr u32 k_per_register = 2, k_register_bytes = 4;
  static constexpr i32 k_least = std::is_same_v<Format, F16> ? -14 : -126;
  static constexpr bool k_splits_pairs = false;
  static void unpack(const u8* from, float* to) { convert(from, to, 64); }
  static void convert(const u8* from, float* to, u32 count) {
    Format::to_floats(reinterpret_cast<const u16*>(from), to, count);
  }
};
struct Tf32Elements {
  using Value = float;
  using Vector = Floats;
  static constexpr u32 k_per_register = 1, k_register_bytes = 4;
  static constexpr i32 k_least = -126;
  static constexpr bool k_splits_pairs = false;
  static void unpack(const u8* from, float* to) { convert(from, to, k_lanes); }
  static void convert(const u8* from, float* to, u32 count) {
    const u32* bits = reinterpret_cast<const u32*>(from);
    for (u32 k = 0; k < count; ++k) to[k] = bits_as<float>(bits[k] & ~0x1fffu);
  }
};
template <int ExponentBits>
struct Fp8Elements {
  using Value = float;
  using Vector = Floats;
  static constexpr u32 k_per_register = 4, k_register_bytes = 4;
  static constexpr i32 k_least = -14;  // they become f16
  static constexpr bool k_splits_pairs = true;
  static void unpack(const u8* from, float* to) { convert(from, to, 128); }
  static void convert(const u8* from, float* to, u32 count) {
    for (u32 k = 0; k < count; ++k) to[k] = fp8_to_float<ExponentBits>(from[k]);
  }
};
/// As wgmma multiplies them: as they are.
template <int ExponentBits>
struct NativeFp8Elements : Fp8Elements<ExponentBits> {
  static constexpr i32 k_least = ExponentBits == 4 ? -6 : -14;
  static constexpr bool k_splits_pairs = false;
};
template <class T>
struct ByteElements {
  using Value = i32;
  using Vector = Integers;
  static constexpr u32 k_per_register = 4, k_register_bytes = 4;
  static constexpr bool k_splits_pairs = false;
  static void unpack(const u8* from, i32* to) { convert(from, to, 128); }
  static void convert(const u8* from, i32* to, u32 count) {
    const T* bytes = reinterpret_cast<const T*>(from);
    for (u32 k = 0; k < count; ++k) to[k] = bytes[k];
  }
};

/// 32 single bits of a row, a word that counts as one element.
struct BitElements {
  using Value = i32;
  using Vector = Integers;
  static constexpr u32 k_per_register = 1, k_register_bytes = 4;
  static constexpr bool k_splits_pairs = false;
  static void unpack(const u8* from, i32* to) { convert(from, to, k_lanes); }
  static void convert(const u8* from, i32* to, u32 count) { std::memcpy(to, from, count * sizeof(i32)); }
};

/// The factors of one instruction. With split pairs the columns 4n, 4n + 1 of A (rows of B) come before all others.
template <class Value, class Vector>
struct Factors {
  alignas(32) Value a[k_rows_a][k_max_depth];
  Vector b[k_max_depth];
};

template <class Vector>
void transpose(const Vector* rows, Vector* columns) {  // 8 x 8
  for (u32 r = 0; r < 8; ++r) {
    for (u32 c = 0; c < 8; ++c) columns[c][r] = rows[r][c];
  }
}
inline void transpose(const Floats* rows, Floats* columns) {
  const __m256* r = reinterpret_cast<const __m256*>(rows);
  __m256 t[8], u[8];
  for (u32 k = 0; k < 8; k += 2) {
    t[k] = _mm256_unpacklo_ps(r[k], r[k + 1]);
    t[k + 1] = _mm256_unpackhi_ps(r[k], r[k + 1]);
  }
  for (u32 k = 0; k < 8; k += 4) {
    u[k] = _mm256_shuffle_ps(t[k], t[k + 2], 0x44);
    u[k + 1] = _mm256_shuffle_ps(t[k], t[k + 2], 0xee);
    u[k + 2] = _mm256_shuffle_ps(t[k + 1], t[k + 3], 0x44);
    u[k + 3] = _mm256_shuffle_ps(t[k + 1], t[k + 3], 0xee);
  }
  for (u32 k = 0; k < 4; ++k) {
    columns[k] = reinterpret_cast<Floats>(_mm256_permute2f128_ps(u[k], u[k + 4], 0x20));
    columns[k + 4] = reinterpret_cast<Floats>(_mm256_permute2f128_ps(u[k], u[k + 4], 0x31));
  }
}

/// Accumulator fragment <-> 16 x 8 matrix. Registers of 32-bit values: q holds row g + 8 (q / 2), column
/// 2 (l % 4) + q % 2; of half pairs: register q holds row g + 8 q, columns 2 (l % 4) and the next.
template <class Value, class Vector>
void load_accumulator(Warp& warp, const u32* registers, u32 blocks, bool is_half, Vector* c) {
  if (is_half) {
    for (u32 q = 0; q < 2; ++q) {
      float values[64];
      F16::to_floats(lanes_of<u16>(warp, registers[q]), values, 64);
      for (u32 k = 0; k < 64; ++k) c[k / 8 + 8 * q][k % 8] = static_cast<Value>(values[k]);
    }
    return;
  }
  for (u32 q = 0; q < 2 * blocks; ++q) {
    const Value* values = lanes_of<Value>(warp, registers[q]);
    KERNELITES_LANES(l) c[l / 4 + 8 * (q / 2)][2 * (l % 4) + q % 2] = values[l];
  }
}

template <class Value, class Vector>
void store_accumulator(Warp& warp, const u32* registers, u32 blocks, bool is_half, const Vector* c) {
  if (is_half) {
    for (u32 q = 0; q < 2; ++q) {
      float values[64];
      for (u32 k = 0; k < 64; ++k) values[k] = static_cast<float>(c[k / 8 + 8 * q][k % 8]);
      F16::from_floats(values, lanes_of<u16>(warp, registers[q]), 64);
    }
    return;
  }
  for (u32 q = 0; q < 2 * blocks; ++q) {
    Value* values = lanes_of<Value>(warp, registers[q]);
    KERNELITES_LANES(l) values[l] = c[l / 4 + 8 * (q / 2)][2 * (l % 4) + q % 2];
  }
}

/// Copies one register's values of a row group, 4E neighbours from `first` on, to where they belong in a row.
template <class Elements, class Value>
void place_run(const Value* values, u32 first, u32 depth, Value* row) {
  constexpr u32 k_run = 4 * Elements::k_per_register;
  if constexpr (!Elements::k_splits_pairs) {
    std::memcpy(row + first, values, k_run * sizeof(Value));
  } else {
    for (u32 j = 0; j < k_run; ++j) row[j % 4 / 2 * (depth / 2) + (first + j) / 4 * 2 + j % 2] = values[j];
  }
}

/// Rows of A (8 or 16) against 8 columns of B.
struct ProductShape {
  u32 depth = 16, rows = 16;
  bool is_half = false;   ///< the accumulator is f16
  u32 bits = k_sum_bits;  ///< TensorStep::bits
};

/// c[row] += a[row] * b on integers: exact, wrapping around or saturated at the end.
inline void multiply_integers(u32 depth, u32 rows, bool saturates, const Factors<i32, Integers>& factors,
                              Integers* c) {
  for (u32 row = 0; row < rows; ++row) {
    Integers sum{};  // of 64 products of bytes: far from the ends
    for (u32 k = 0; k < depth; ++k) sum += factors.a[row][k] * factors.b[k];
    for (u32 column = 0; column < k_columns; ++column) {
      const i64 exact = i64{c[row][column]} + sum[column];
      c[row][column] = saturates ? static_cast<i32>(std::clamp<i64>(exact, INT32_MIN, INT32_MAX))
                                 : static_cast<i32>(exact);
    }
  }
}

/// c[row] += the bits that are set in both a[row] and b.
inline void multiply_bits(u32 depth, u32 rows, const Factors<i32, Integers>& factors, Integers* c) {
  for (u32 row = 0; row < rows; ++row)
    for (u32 k = 0; k < depth; ++k)
      for (u32 column = 0; column < k_columns; ++column)
        c[row][column] += __builtin_popcount(static_cast<u32>(factors.a[row][k] & factors.b[k][column]));
}

/// c[row] += a[row] * b on floats, as tensor_sum.h says.
template <class ElementsA, class ElementsB>
void multiply_floats(const ProductShape& shape, const Factors<float, Floats>& factors, Floats* c) {
  const u32 depth = shape.depth, rows = shape.rows;
  const bool is_half = shape.is_half;
  constexpr bool k_is_emulated = ElementsA::k_splits_pairs;
  alignas(32) i32 exponents_a[k_rows_a][k_max_depth];
  Integers exponents_b[k_max_depth];
  for (u32 row = 0; row < rows; ++row) {
    for (u32 k = 0; k < depth; k += 8) {
      Floats values;
      std::memcpy(&values, &factors.a[row][k], sizeof values);
      const Integers exponents = tensor_exponents(values, ElementsA::k_least);
      std::memcpy(&exponents_a[row][k], &exponents, sizeof exponents);
    }
  }
  for (u32 k = 0; k < depth; ++k) exponents_b[k] = tensor_exponents(factors.b[k], ElementsB::k_least);
  Floats sums[k_rows_a];
  {
    const TowardZero mode;
    const u32 step_depth = k_is_emulated ? depth / 2 : depth;
    for (u32 row = 0; row < rows; ++row) {
      sums[row] = k_is_emulated ? Floats{} : c[row];
      for (u32 k = 0; k < depth; k += step_depth) {
        sums[row] = tensor_sum({.a = &factors.a[row][k],
                                .a_exponents = &exponents_a[row][k],
                                .b = factors.b + k,
                                .b_exponents = exponents_b + k,
                                .depth = step_depth,
                                .least = is_half ? -14 : -126,
                                .to_half = is_half,
                                .bits = shape.bits},
                               sums[row]);
      }
    }
  }
  for (u32 row = 0; row < rows; ++row) {
    if (k_is_emulated) sums[row] += c[row];
    if (shape.bits == k_fp8_sum_bits && !is_half)
      sums[row] = reinterpret_cast<Floats>(reinterpret_cast<Integers>(sums[row]) &
                                           ~((1 << (23 - k_fp8_sum_bits)) - 1));
    c[row] = sums[row] == sums[row] ? sums[row] : reinterpret_cast<Floats>(Integers{} + 0x7fffffff);
  }
}

}  // namespace kernelites::worker::vgpu

#pragma GCC pop_options
