// SPDX-License-Identifier: Apache-2.0
// Drawing operand values: see operand_values.h.
#include "tests/vgpu/recorded/operand_values.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "engine/core/error.h"

namespace kernelites::recorded {
namespace {

struct TypeRow {
  std::string_view name;
  unsigned register_bytes, elements, element_bits;
  FloatFormat format;  ///< no exponent bits: an integer
};
constexpr TypeRow k_types[] = {
    {"pred", 4, 1, 32, {0, 0}},
    {"s8", 2, 1, 16, {0, 0}},
    {"u8", 2, 1, 16, {0, 0}},
    {"b16", 2, 1, 16, {0, 0}},
    {"s16", 2, 1, 16, {0, 0}},
    {"u16", 2, 1, 16, {0, 0}},
    {"b32", 4, 1, 32, {0, 0}},
    {"s32", 4, 1, 32, {0, 0}},
    {"u32", 4, 1, 32, {0, 0}},
    {"b64", 8, 1, 64, {0, 0}},
    {"s64", 8, 1, 64, {0, 0}},
    {"u64", 8, 1, 64, {0, 0}},
    {"s16x2", 4, 2, 16, {0, 0}},
    {"u16x2", 4, 2, 16, {0, 0}},
    {"s8x4", 4, 4, 8, {0, 0}},
    {"u8x4", 4, 4, 8, {0, 0}},
    {"f64", 8, 1, 64, {11, 52}},
    {"f32", 4, 1, 32, {8, 23}},
    {"tf32", 4, 1, 32, {8, 10, 13}},
    {"f16", 2, 1, 16, {5, 10}},
    {"bf16", 2, 1, 16, {8, 7}},
    {"f16x2", 4, 2, 16, {5, 10}},
    {"bf16x2", 4, 2, 16, {8, 7}},
    {"e5m2x2", 2, 2, 8, {5, 2}},
    {"e4m3x2", 2, 2, 8, {4, 3, 0, false}},
    {"e5m2x4", 4, 4, 8, {5, 2}},
    {"e4m3x4", 4, 4, 8, {4, 3, 0, false}},
};

const TypeRow& find_type(std::string_view name) {
  const auto* row =
      std::find_if(std::begin(k_types), std::end(k_types), [&](const TypeRow& t) { return t.name == name; });
  if (row == std::end(k_types)) throw Error("no operand type " + std::string(name));
  return *row;
}

std::uint64_t mask_of(unsigned bits) {
  return bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
}

/// Sign, biased exponent (clamped to the finite range) and mantissa put together.
std::uint64_t compose(const FloatFormat& f, bool is_negative, int exponent, std::uint64_t mantissa) {
  const int top = static_cast<int>(mask_of(f.exponent_bits)) - 1;
  const std::uint64_t biased = static_cast<std::uint64_t>(std::clamp(exponent + f.bias(), 0, top));
  const unsigned below = f.mantissa_bits + f.unused_bits;
  return (std::uint64_t{is_negative} << (f.exponent_bits + below)) | biased << below |
         (mantissa & mask_of(below));
}

/// A mantissa with few leading bits and then nothing, a half, or one bit beside a half: what rounding turns on.
std::uint64_t halfway_mantissa(const FloatFormat& f, Rng& rng) {
  const unsigned kept[] = {0, 1, 2, 3, 7, 8, 10, 11, 23, 24};
  const unsigned k = std::min<unsigned>(kept[rng.below(std::size(kept))], f.mantissa_bits);
  const unsigned rest = f.mantissa_bits - k;
  const std::uint64_t half = rest == 0 ? 0 : std::uint64_t{1} << (rest - 1);
  const std::uint64_t tails[] = {0, half, half + 1, half - 1};
  const std::uint64_t head = (rng.bits() & mask_of(k)) << rest;
  return (head | (tails[rng.below(4)] & mask_of(rest))) << f.unused_bits;
}

std::uint64_t special_float(const FloatFormat& f, Rng& rng) {
  const unsigned below = f.mantissa_bits + f.unused_bits;
  const std::uint64_t infinity = mask_of(f.exponent_bits) << below, one = static_cast<std::uint64_t>(f.bias())
                                                                          << below;
  const std::uint64_t unit = std::uint64_t{1} << f.unused_bits, all = mask_of(f.mantissa_bits)
                                                                      << f.unused_bits;
  const std::uint64_t half = std::uint64_t{1} << (below - 1), step = std::uint64_t{1} << below;
  const std::uint64_t values[] = {0,
                                  0,
                                  unit,
                                  all,
                                  step,
                                  step + unit,
                                  one,
                                  one,
                                  one + unit,
                                  one - unit,
                                  one | half,
                                  one + step,
                                  one - step,
                                  one + step + half / 2,
                                  infinity - unit,
                                  infinity,
                                  infinity,
                                  infinity | mask_of(below),
                                  infinity | half | unit,
                                  infinity | unit};
  return values[rng.below(std::size(values))] | (rng.below(2) << (f.exponent_bits + below));
}

std::uint64_t mixed_float(const FloatFormat& f, Rng& rng) {
  const bool is_negative = rng.below(2) != 0;
  const unsigned below = f.mantissa_bits + f.unused_bits;
  switch (rng.below(8)) {
    case 0:
    case 1:
    case 2:
      return special_float(f, rng);
    case 3:
      return rng.bits() & mask_of(f.bits());
    case 4:
      return compose(f, is_negative, static_cast<int>(rng.below(25)) - 12, rng.bits());
    case 5:
      return compose(f, is_negative, static_cast<int>(rng.below(1u << f.exponent_bits)) - f.bias(),
                     rng.bits() & mask_of(below));
    default:
      return compose(f, is_negative, static_cast<int>(rng.below(40)) - 18, halfway_mantissa(f, rng));
  }
}

std::uint64_t small_integer(const FloatFormat& f, int value) {
  if (value == 0) return 0;
  const int magnitude = std::abs(value), exponent = static_cast<int>(std::log2(magnitude));
  const std::uint64_t mantissa =
      static_cast<std::uint64_t>(magnitude) << (f.mantissa_bits + 8 - static_cast<unsigned>(exponent)) >> 8;
  return compose(f, value < 0, exponent, mantissa << f.unused_bits);
}

std::uint64_t draw_float(const FloatFormat& f, std::string_view profile, Rng& rng) {
  const std::uint64_t sign = std::uint64_t{1} << (f.bits() - 1);
  const bool is_negative = rng.below(2) != 0;
  if (profile.empty()) return mixed_float(f, rng);
  switch (profile[0]) {
    case 's':
      return rng.below(12) == 0 ? special_float(f, rng)
                                : compose(f, is_negative, static_cast<int>(rng.below(6)) - 3, rng.bits());
    case 'd':
      if (rng.below(8) == 0) return rng.below(2) * sign;
      return compose(f, is_negative, static_cast<int>(rng.below(12)) - 4 - f.bias(), rng.bits());
    case 'm':
      return compose(f, is_negative, static_cast<int>(rng.below(6)) - 3, rng.bits());
    case 'w':
      return compose(f, is_negative, static_cast<int>(rng.below(25)) - 12, rng.bits());
    case 't':
      return compose(f, is_negative, static_cast<int>(rng.below(28)) - 24, rng.bits());
    case 'z':
      return rng.below(3) == 0 ? rng.below(2) * sign
                               : compose(f, is_negative, static_cast<int>(rng.below(29)) - 14, 0);
    case 'n':
      return small_integer(f, static_cast<int>(rng.below(17)) - 8);
    case 'f': {
      const std::uint64_t bits = mixed_float(f, rng);
      return std::isnan(element_value(f, bits)) ? 0 : bits;
    }
    case 'p':
      return mixed_float(f, rng) & ~sign;
    default:
      throw Error("no profile " + std::string(profile) + " of floats");
  }
}

std::uint64_t draw_integer(std::string_view profile, Rng& rng) {
  if (profile == "shift") return rng.below(16) == 0 ? rng.bits() : rng.below(71);
  if (profile == "bit") return rng.below(71);
  if (profile == "lane") return rng.below(32);
  if (profile == "few") return rng.below(4);
  if (profile == "n") return rng.below(17) - 8;
  if (!profile.empty()) throw Error("no profile " + std::string(profile) + " of integers");
  static constexpr std::int64_t k_special[] = {0,
                                               0,
                                               1,
                                               1,
                                               -1,
                                               -1,
                                               2,
                                               -2,
                                               3,
                                               0x7f,
                                               0x80,
                                               0xff,
                                               0x100,
                                               -0x80,
                                               -0x81,
                                               0x7fff,
                                               0x8000,
                                               0xffff,
                                               0x10000,
                                               -0x8000,
                                               -0x8001,
                                               0x7fffffff,
                                               0x80000000,
                                               0xffffffff,
                                               0x80000001,
                                               -0x80000000ll,
                                               0x100000000ll,
                                               31,
                                               32,
                                               33,
                                               63,
                                               64,
                                               65,
                                               0xffffff,
                                               0x1000000,
                                               0x1000001,
                                               std::numeric_limits<std::int64_t>::max(),
                                               std::numeric_limits<std::int64_t>::min()};
  switch (rng.below(4)) {
    case 0:
    case 1:
      return static_cast<std::uint64_t>(k_special[rng.below(std::size(k_special))]);
    case 2:
      return rng.bits();
    default: {
      const std::uint64_t value = rng.bits() >> rng.below(64);
      return rng.below(2) != 0 ? value : ~value;
    }
  }
}

}  // namespace

unsigned register_bytes(std::string_view type) { return find_type(type).register_bytes; }
unsigned element_count(std::string_view type) { return find_type(type).elements; }
unsigned element_bits(std::string_view type) { return find_type(type).element_bits; }

const FloatFormat* float_format(std::string_view type) {
  const FloatFormat& format = find_type(type).format;
  return format.exponent_bits == 0 ? nullptr : &format;
}

double element_value(const FloatFormat& f, std::uint64_t bits) {
  const unsigned below = f.mantissa_bits + f.unused_bits;
  const std::uint64_t mantissa = bits & mask_of(below), exponent = bits >> below & mask_of(f.exponent_bits);
  const bool is_top = exponent == mask_of(f.exponent_bits);
  double value = std::ldexp(static_cast<double>(mantissa), 1 - f.bias() - static_cast<int>(below));
  if (is_top && (f.has_infinity || mantissa == mask_of(below))) {
    value = mantissa == 0 ? INFINITY : NAN;
  } else if (exponent != 0) {
    value = std::ldexp(static_cast<double>(mantissa + (std::uint64_t{1} << below)),
                       static_cast<int>(exponent) - f.bias() - static_cast<int>(below));
  }
  return (bits >> (f.bits() - 1) & 1) != 0 ? -value : value;
}

std::uint64_t draw_register(std::string_view type, std::string_view profile, Rng& rng) {
  const TypeRow& row = find_type(type);
  if (row.name == "pred") return rng.below(2);
  std::uint64_t bits = 0;
  for (unsigned k = 0; k < row.elements; ++k) {
    const std::uint64_t element =
        row.format.exponent_bits != 0 ? draw_float(row.format, profile, rng) : draw_integer(profile, rng);
    bits |= (element & mask_of(row.element_bits)) << (k * row.element_bits);
  }
  return bits;
}

}  // namespace kernelites::recorded
