// SPDX-License-Identifier: Apache-2.0
// The values that snippets compute with: special ones of every type, halfway cases, and random bits.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/core/rng.h"

namespace kernelites::recorded {

/// Bytes per lane of a register of this type. Throws Error for an unknown one. 8-bit types live in 16-bit registers.
unsigned register_bytes(std::string_view type);

/// A floating-point format as its bits are laid out.
struct FloatFormat {
  unsigned exponent_bits, mantissa_bits;
  unsigned unused_bits = 0;  ///< below the mantissa: tf32
  bool has_infinity = true;

  unsigned bits() const { return 1 + exponent_bits + mantissa_bits + unused_bits; }
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
};
/// Of the elements of "f16x2", "e4m3x4", "f64" ...; null for integers.
const FloatFormat* float_format(std::string_view type);
/// Elements in a register: 2 for "f16x2", 4 for "s8x4", 1 for "f32".
unsigned element_count(std::string_view type);
/// Bits of one element of a type.
unsigned element_bits(std::string_view type);
/// The value of an element.
double element_value(const FloatFormat& format, std::uint64_t bits);

/// One register's bits. Profiles of floats: "" mixes special values, halfway cases and random bits; "p" without signs;
/// "f" without NaN; "m" exponents from -3 to 2; "s" like "m" with some special values; "w" exponents from -12 to 12;
/// "z" signed powers of two and zeros; "d" mostly denormal; "n" integers from -8 to 8; "t" from -16 to 16 in value. Of
/// integers: "" mixes extreme, short and random ones; "bit" 0 to 70; "shift" sometimes any; "lane" 0 to 31; "few" 0 to
/// 3; "n" -8 to 8.
std::uint64_t draw_register(std::string_view type, std::string_view profile, Rng& rng);

}  // namespace kernelites::recorded
