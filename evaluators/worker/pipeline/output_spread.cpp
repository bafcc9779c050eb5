// SPDX-License-Identifier: Apache-2.0
// Decoding of outputs on the host; only repeats that differ come here.
#include "evaluators/worker/pipeline/output_spread.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

constexpr double k_infinite = std::numeric_limits<double>::infinity();

template <typename T>
T load(std::span<const std::byte> bytes, std::size_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof value, sizeof value);
  return value;
}

double half_value(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 31) return fraction ? std::numeric_limits<double>::quiet_NaN() : sign * k_infinite;
  return sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25));
}

bool is_value_type(Dtype dtype) {
  return dtype == Dtype::f16 || dtype == Dtype::bf16 || dtype == Dtype::f32 || dtype == Dtype::f64;
}

/// REQUIRES: `is_value_type`.
double value_at(Dtype dtype, std::span<const std::byte> bytes, std::size_t index) {
  if (dtype == Dtype::f64) return load<double>(bytes, index);
  if (dtype == Dtype::f32) return load<float>(bytes, index);
  const auto bits = load<std::uint16_t>(bytes, index);
  if (dtype == Dtype::f16) return half_value(bits);
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// The distance to the next value of the type, at this magnitude.
double last_place(Dtype dtype, double magnitude) {
  struct Format {
    int fraction_bits, least_exponent;
  };
  const Format format = dtype == Dtype::f64   ? Format{52, -1022}
                        : dtype == Dtype::f32 ? Format{23, -126}
                        : dtype == Dtype::f16 ? Format{10, -14}
                                              : Format{7, -126};
  const int exponent = magnitude > 0 ? std::ilogb(magnitude) : format.least_exponent;
  return std::ldexp(1.0, std::max(exponent, format.least_exponent) - format.fraction_bits);
}

/// How much of a difference rounding does not explain.
double unexplained(Dtype dtype, double a, double b) {
  if (a == b) return 0;
  return std::max(0.0, std::fabs(a - b) - last_place(dtype, std::max(std::fabs(a), std::fabs(b))));
}

double row_spread(Dtype dtype, const Precision& precision, std::span<const std::byte> first,
                  std::span<const std::byte> second, std::size_t columns) {
  double squares = 0, errors = 0, worst = 0;
  for (std::size_t c = 0; c < columns; ++c) {
    const double a = value_at(dtype, first, c), b = value_at(dtype, second, c);
    if (a == b || (std::isnan(a) && std::isnan(b))) {
      if (std::isfinite(a)) squares += a * a;
      continue;
    }
    if (!std::isfinite(a) || !std::isfinite(b)) return k_infinite;
    squares += a * a;
    errors += std::pow(unexplained(dtype, a, b), 2);
  }
  const double rms = std::sqrt(squares / static_cast<double>(columns));
  for (std::size_t c = 0; c < columns; ++c) {
    const double a = value_at(dtype, first, c), b = value_at(dtype, second, c);
    const double error = std::isfinite(a) ? unexplained(dtype, a, b) : 0;
    if (error == 0) continue;
    const double allowed =
        precision.absolute + precision.element_ulp * std::fabs(a) + precision.element_rms * rms;
    worst = std::max(worst, allowed > 0 ? error / allowed : k_infinite);
  }
  if (precision.row > 0 && errors > 0)
    worst = std::max(worst, squares > 0 ? std::sqrt(errors / squares) / precision.row : k_infinite);
  return worst;
}

/// Bytes of a type of quantised outputs as places on a line, neighbours one apart. Empty: the type has no such order.
std::optional<int> code_at(Dtype dtype, std::byte value) {
  const auto bits = std::to_integer<int>(value);
  if (dtype == Dtype::u8) return bits;
  if (dtype == Dtype::i8) return bits < 128 ? bits : bits - 256;
  if (dtype == Dtype::e4m3 || dtype == Dtype::e5m2) return bits < 128 ? bits : 128 - bits;
  return std::nullopt;
}

/// Whether all codes are the same or neighbours.
bool are_neighbours(Dtype dtype, std::span<const std::byte> first, std::span<const std::byte> second) {
  for (std::size_t i = 0; i < first.size(); ++i) {
    const auto a = code_at(dtype, first[i]), b = code_at(dtype, second[i]);
    if (!a || !b || std::abs(*a - *b) > 1) return false;
  }
  return true;
}

}  // namespace

OutputSpread output_spread(Dtype dtype, std::int64_t columns, const Precision& precision,
                           std::span<const std::byte> first, std::span<const std::byte> second) {
  KERNELITES_ASSERT(first.size() == second.size() && columns > 0);
  if (std::equal(first.begin(), first.end(), second.begin())) return {};
  if (!is_value_type(dtype)) {
    const bool is_rounding =
        precision.compare == Compare::codes && precision.bits == 0 && are_neighbours(dtype, first, second);
    return {.is_equal = false, .share = is_rounding ? 0 : k_infinite};
  }
  const auto width = static_cast<std::size_t>(columns), row_bytes = width * dtype_bytes(dtype);
  KERNELITES_ASSERT(first.size() % row_bytes == 0);
  OutputSpread spread{.is_equal = false, .share = 0};
  for (std::size_t at = 0; at < first.size(); at += row_bytes)
    spread.share = std::max(spread.share, row_spread(dtype, precision, first.subspan(at, row_bytes),
                                                     second.subspan(at, row_bytes), width));
  return spread;
}

OutputSpread outputs_spread(const Task& task, const Workload& workload, const InputFamily& family,
                            const std::vector<std::vector<std::byte>>& first,
                            const std::vector<std::vector<std::byte>>& second) {
  OutputSpread all;
  std::size_t at = 0;
  for (const TensorSpec& tensor : task.tensors) {
    if (tensor.role != Role::output && tensor.role != Role::inout) continue;
    const RowGroup group = row_groups(task).at(row_group_of(task, tensor));
    const std::int64_t columns = element_count(tensor, workload) / row_count(group, workload);
    const OutputSpread one = output_spread(tensor.dtype, columns, precision_of(task, family, tensor.name),
                                           first.at(at), second.at(at));
    all.is_equal = all.is_equal && one.is_equal;
    all.share = std::max(all.share, one.share);
    ++at;
  }
  return all;
}

}  // namespace kernelites::worker
