// SPDX-License-Identifier: Apache-2.0
// Small floats by arithmetic on their fields; speed does not matter here.
#include "evaluators/worker/kernel_run/element_type.h"

#include <bit>
#include <cmath>
#include <limits>

namespace kernelites::worker {
namespace {

using Kind = ElementType::Kind;

constexpr ElementType k_types[] = {
    {"f64", Kind::real, 8, 11, 52, 1e-13},     {"f32", Kind::real, 4, 8, 23, 2e-5},
    {"f16", Kind::real, 2, 5, 10, 2e-3},       {"bf16", Kind::real, 2, 8, 7, 1.6e-2},
    {"e4m3", Kind::real, 1, 4, 3, 0.26},       {"e5m2", Kind::real, 1, 5, 2, 0.51},
    {"i8", Kind::signed_integer, 1, 0, 0, 0},  {"u8", Kind::unsigned_integer, 1, 0, 0, 0},
    {"i16", Kind::signed_integer, 2, 0, 0, 0}, {"u16", Kind::unsigned_integer, 2, 0, 0, 0},
    {"i32", Kind::signed_integer, 4, 0, 0, 0}, {"u32", Kind::unsigned_integer, 4, 0, 0, 0},
    {"i64", Kind::signed_integer, 8, 0, 0, 0}, {"u64", Kind::unsigned_integer, 8, 0, 0, 0},
};

int bias_of(const ElementType& type) { return (1 << (type.exponent_bits - 1)) - 1; }

/// e4m3 has no infinity: the code of one is a number, and only all ones is NaN.
bool has_infinity(const ElementType& type) { return type.exponent_bits != 4; }

std::uint64_t largest_code(const ElementType& type) {
  const std::uint64_t top = (std::uint64_t{1} << (type.exponent_bits + type.mantissa_bits)) - 1;
  return has_infinity(type) ? top - (std::uint64_t{1} << type.mantissa_bits) : top - 1;
}

std::uint64_t encode_real(const ElementType& type, double value) {
  if (type.bytes == 8) return std::bit_cast<std::uint64_t>(value);
  if (type.bytes == 4) return std::bit_cast<std::uint32_t>(static_cast<float>(value));
  const int width = 8 * type.bytes;
  const std::uint64_t sign = std::signbit(value) ? std::uint64_t{1} << (width - 1) : 0;
  const std::uint64_t largest = largest_code(type);
  if (std::isnan(value)) return (std::uint64_t{1} << (width - 1)) - 1;
  const double magnitude = std::fabs(value);
  if (std::isinf(magnitude)) return sign | (type.bytes == 1 ? largest : largest + 1);
  const int least = 1 - bias_of(type);
  int exponent = least;
  if (magnitude != 0) exponent = std::max(least, std::ilogb(magnitude));
  const double units = std::nearbyint(std::ldexp(magnitude, type.mantissa_bits - exponent));
  const auto code = (static_cast<std::uint64_t>(exponent - least) << type.mantissa_bits) +
                    static_cast<std::uint64_t>(units);  // a carry runs into the exponent, as it should
  if (code > largest) return sign | (type.bytes == 1 ? largest : largest + 1);
  return sign | code;
}

double decode_real(const ElementType& type, std::uint64_t bits) {
  if (type.bytes == 8) return std::bit_cast<double>(bits);
  if (type.bytes == 4) return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  const int width = 8 * type.bytes;
  const std::uint64_t code = bits & ((std::uint64_t{1} << (width - 1)) - 1);
  const double sign = (bits >> (width - 1) & 1) != 0 ? -1 : 1;
  if (code > largest_code(type)) {
    const bool is_infinity = has_infinity(type) && code == largest_code(type) + 1;
    return is_infinity ? sign * std::numeric_limits<double>::infinity()
                       : std::numeric_limits<double>::quiet_NaN();
  }
  const std::uint64_t one = std::uint64_t{1} << type.mantissa_bits;
  const std::uint64_t exponent = code >> type.mantissa_bits, mantissa = code & (one - 1);
  const double units = static_cast<double>(exponent == 0 ? mantissa : mantissa + one);
  const int scale = (exponent == 0 ? 1 : static_cast<int>(exponent)) - bias_of(type) - type.mantissa_bits;
  return sign * std::ldexp(units, scale);
}

}  // namespace

std::optional<ElementType> find_element_type(std::string_view name) {
  for (const ElementType& type : k_types)
    if (type.name == name) return type;
  return std::nullopt;
}

std::string element_type_names() {
  std::string names;
  for (const ElementType& type : k_types) names += (names.empty() ? "" : ", ") + std::string(type.name);
  return names;
}

std::uint64_t encode_element(const ElementType& type, double value) {
  if (type.kind == Kind::real) return encode_real(type, value);
  const bool is_big = value >= 0x1p63;
  if (!(value >= -0x1p63 && value < 0x1p64)) value = 0;  // NaN and what no integer type holds
  const auto bits = is_big ? static_cast<std::uint64_t>(value)
                           : static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
  return type.bytes == 8 ? bits : bits & ((std::uint64_t{1} << (8 * type.bytes)) - 1);
}

double decode_element(const ElementType& type, std::uint64_t bits) {
  if (type.kind == Kind::real) return decode_real(type, bits);
  if (type.kind == Kind::unsigned_integer) return static_cast<double>(bits);
  const int unused = 64 - 8 * type.bytes;
  return static_cast<double>(static_cast<std::int64_t>(bits << unused) >> unused);
}

}  // namespace kernelites::worker
