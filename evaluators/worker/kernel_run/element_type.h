// SPDX-License-Identifier: Apache-2.0
// The element types that buffers of a kernel job may have: names, sizes, and values to and from bits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kernelites::worker {

struct ElementType {
  enum class Kind : std::uint8_t { signed_integer, unsigned_integer, real };
  std::string_view name;  ///< "bf16"
  Kind kind = Kind::real;
  int bytes = 4;
  int exponent_bits = 0, mantissa_bits = 0;  ///< of reals
  double tolerance = 0;                      ///< by default: about two units of the last place
};

/// f64, f32, f16, bf16, e4m3, e5m2, and i or u with 8, 16, 32, 64. Empty for other names.
std::optional<ElementType> find_element_type(std::string_view name);
/// "f32, f16, ...", for messages.
std::string element_type_names();

/// The bits of `value` in a type: reals round to nearest even (eight-bit ones saturate), integers wrap around; NaN and
/// what is beyond 64 bits is the integer 0.
std::uint64_t encode_element(const ElementType& type, double value);
/// Inverse of `encode_element`; 64-bit integers lose what a double cannot hold.
double decode_element(const ElementType& type, std::uint64_t bits);

}  // namespace kernelites::worker
