// SPDX-License-Identifier: Apache-2.0
// Small floating formats by their definition: sign, exponent, fraction.
#include "evaluators/worker/pipeline/tensor_values.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

/// A binary format of up to 32 bits.
struct Format {
  int exponent_bits, fraction_bits;
  bool has_infinity;  ///< e4m3 has none, and one NaN
};

const Format* format_of(Dtype dtype) {
  static constexpr Format f16{5, 10, true}, bf16{8, 7, true}, f32{8, 23, true}, e4m3{4, 3, false},
      e5m2{5, 2, true};
  switch (dtype) {
    case Dtype::f16:
      return &f16;
    case Dtype::bf16:
      return &bf16;
    case Dtype::f32:
      return &f32;
    case Dtype::e4m3:
      return &e4m3;
    case Dtype::e5m2:
      return &e5m2;
    default:
      return nullptr;
  }
}

double decode(const Format& format, std::uint32_t bits) {
  const std::uint32_t fraction_mask = (1u << format.fraction_bits) - 1,
                      exponent_mask = (1u << format.exponent_bits) - 1;
  const std::uint32_t fraction = bits & fraction_mask,
                      exponent = (bits >> format.fraction_bits) & exponent_mask;
  const double sign = (bits >> (format.fraction_bits + format.exponent_bits)) & 1 ? -1 : 1;
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  if (exponent == exponent_mask) {
    if (format.has_infinity)
      return fraction == 0 ? sign * std::numeric_limits<double>::infinity()
                           : std::numeric_limits<double>::quiet_NaN();
    if (fraction == fraction_mask) return std::numeric_limits<double>::quiet_NaN();
  }
  const double significand = (exponent == 0 ? 0 : 1) + std::ldexp(fraction, -format.fraction_bits);
  return sign * std::ldexp(significand, (exponent == 0 ? 1 : static_cast<int>(exponent)) - bias);
}

std::uint32_t encode(const Format& format, double value) {
  const std::uint32_t exponent_mask = (1u << format.exponent_bits) - 1,
                      fraction_mask = (1u << format.fraction_bits) - 1;
  const std::uint32_t sign = (std::signbit(value) ? 1u : 0u) << (format.exponent_bits + format.fraction_bits);
  const std::uint32_t nan = (exponent_mask << format.fraction_bits) | fraction_mask;
  const std::uint32_t largest =
      format.has_infinity ? ((exponent_mask - 1) << format.fraction_bits) | fraction_mask : nan - 1;
  if (std::isnan(value)) return nan;
  const double magnitude = std::abs(value);
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  if (magnitude == 0) return sign;
  if (std::isinf(value) && format.has_infinity) return sign | (exponent_mask << format.fraction_bits);
  const int exponent = std::max(std::ilogb(std::min(magnitude, 1e300)), 1 - bias);
  // Rounding to nearest even; a carry into the exponent is what the encoding does by itself.
  const double units = std::nearbyint(std::ldexp(magnitude, format.fraction_bits - exponent));
  const double code = units + std::ldexp(exponent + bias - 1, format.fraction_bits);
  if (!(code <= largest))
    return sign | (format.has_infinity ? exponent_mask << format.fraction_bits : largest);
  return sign | static_cast<std::uint32_t>(code);
}

template <typename T>
T load(std::span<const std::byte> bytes, std::size_t index) {
  T value;
  std::memcpy(&value, bytes.subspan(index * sizeof value, sizeof value).data(), sizeof value);
  return value;
}

template <typename T>
void store(std::span<std::byte> bytes, std::size_t index, T value) {
  std::memcpy(bytes.subspan(index * sizeof value, sizeof value).data(), &value, sizeof value);
}

}  // namespace

bool is_floating(Dtype dtype) { return dtype == Dtype::f64 || format_of(dtype) != nullptr; }

double element_value(Dtype dtype, std::span<const std::byte> bytes, std::size_t index) {
  if (const Format* format = format_of(dtype)) {
    switch (dtype_bytes(dtype)) {
      case 1:
        return decode(*format, load<std::uint8_t>(bytes, index));
      case 2:
        return decode(*format, load<std::uint16_t>(bytes, index));
      default:
        return decode(*format, load<std::uint32_t>(bytes, index));
    }
  }
  switch (dtype) {
    case Dtype::f64:
      return load<double>(bytes, index);
    case Dtype::i8:
      return load<std::int8_t>(bytes, index);
    case Dtype::u8:
      return load<std::uint8_t>(bytes, index);
    case Dtype::i32:
      return load<std::int32_t>(bytes, index);
    default:
      return static_cast<double>(load<std::int64_t>(bytes, index));
  }
}

void set_element(Dtype dtype, std::span<std::byte> bytes, std::size_t index, double value) {
  if (const Format* format = format_of(dtype)) {
    const std::uint32_t code = encode(*format, value);
    switch (dtype_bytes(dtype)) {
      case 1:
        return store(bytes, index, static_cast<std::uint8_t>(code));
      case 2:
        return store(bytes, index, static_cast<std::uint16_t>(code));
      default:
        return store(bytes, index, code);
    }
  }
  switch (dtype) {
    case Dtype::f64:
      return store(bytes, index, value);
    case Dtype::i8:
      return store(bytes, index, static_cast<std::int8_t>(std::llround(value)));
    case Dtype::u8:
      return store(bytes, index, static_cast<std::uint8_t>(std::llround(value)));
    case Dtype::i32:
      return store(bytes, index, static_cast<std::int32_t>(std::llround(value)));
    default:
      return store(bytes, index, static_cast<std::int64_t>(std::llround(value)));
  }
}

std::vector<double> element_values(Dtype dtype, std::span<const std::byte> bytes) {
  std::vector<double> values(bytes.size() / dtype_bytes(dtype));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = element_value(dtype, bytes, i);
  return values;
}

std::vector<std::int32_t> whole_values(std::span<const std::byte> bytes) {
  std::vector<std::int32_t> values(bytes.size() / sizeof(std::int32_t));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(std::int32_t));
  return values;
}

TensorBytes bytes_of_whole(std::span<const std::int32_t> values) {
  const auto bytes = std::as_bytes(values);
  return {bytes.begin(), bytes.end()};
}

std::size_t flat_index(const Indices& shape, const Indices& indices) {
  KERNELITES_ASSERT(shape.size() == indices.size());
  std::int64_t flat = 0;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) flat = flat * shape[axis] + indices[axis];
  return static_cast<std::size_t>(flat);
}

void for_each_element(const Indices& shape, const std::function<void(std::size_t, const Indices&)>& visit) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  Indices indices(shape.size(), 0);
  for (std::int64_t flat = 0; flat < count; ++flat) {
    visit(static_cast<std::size_t>(flat), indices);
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      if (++indices[axis] < shape[axis]) break;
      indices[axis] = 0;
    }
  }
}

TensorBytes gathered(std::size_t element_bytes, const Indices& shape, std::span<const std::byte> from,
                     const Indices& from_shape, const std::function<Indices(const Indices&)>& source) {
  TensorBytes result;
  for_each_element(shape, [&](std::size_t, const Indices& indices) {
    const std::size_t at = flat_index(from_shape, source(indices)) * element_bytes;
    const auto element = from.subspan(at, element_bytes);
    result.insert(result.end(), element.begin(), element.end());
  });
  return result;
}

}  // namespace kernelites::worker
