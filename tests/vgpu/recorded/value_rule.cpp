// SPDX-License-Identifier: Apache-2.0
// Comparing values by rule: see value_rule.h.
#include "tests/vgpu/recorded/value_rule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/vgpu/recorded/operand_values.h"

namespace kernelites::recorded {
namespace {

std::uint64_t read_register(const std::vector<std::byte>& bytes, std::size_t offset, unsigned width) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data() + offset, width);
  return value;
}

/// Floats in order: neighbours differ by one, -0 and +0 are the same.
double ordinal(const FloatFormat& format, std::uint64_t bits) {
  const std::uint64_t sign = std::uint64_t{1} << (format.bits() - 1);
  const double magnitude = static_cast<double>(bits & ~sign);
  return (bits & sign) != 0 ? -magnitude : magnitude;
}

bool is_within(const Rule& rule, double recorded, double replayed, double ulps) {
  const double difference = std::fabs(recorded - replayed);
  switch (rule.kind) {
    case Rule::Kind::exact:
      return false;
    case Rule::Kind::ulp:
      return ulps <= rule.bound;
    case Rule::Kind::relative:
      return difference <= std::max(rule.bound * std::fabs(recorded), rule.floor);
    case Rule::Kind::absolute:
      return difference <= rule.bound;
  }
  return false;
}

bool is_same(const Rule& rule, const FloatFormat* format, std::uint64_t recorded, std::uint64_t replayed,
             double& ulp_max) {
  if (recorded == replayed) return true;
  if (format == nullptr) return false;
  const double x = element_value(*format, recorded), y = element_value(*format, replayed);
  if (!std::isfinite(x) || !std::isfinite(y)) return false;
  const double ulps = std::fabs(ordinal(*format, recorded) - ordinal(*format, replayed));
  ulp_max = std::max(ulp_max, ulps);
  return is_within(rule, x, y, ulps);
}

std::string describe_inputs(const Snippet& snippet, unsigned lane) {
  const std::vector<std::byte> inputs = draw_inputs(snippet);
  std::string text;
  for (std::size_t k = 0; k < snippet.inputs.size(); ++k) {
    const SnippetOperand& operand = snippet.inputs[k];
    const std::size_t at = operand_offset(snippet, snippet.inputs, k) + std::size_t{lane} * operand.bytes;
    text +=
        fmt::format(" {}={:0{}x}", operand.name, read_register(inputs, at, operand.bytes), 2 * operand.bytes);
  }
  return text;
}

}  // namespace

Comparison compare_outputs(const Snippet& snippet, const std::vector<std::byte>& recorded,
                           const std::vector<std::byte>& replayed) {
  Comparison result;
  for (std::size_t k = 0; k < snippet.outputs.size(); ++k) {
    const SnippetOperand& operand = snippet.outputs[k];
    const FloatFormat* format = float_format(operand.type);
    const unsigned bits = std::min(element_bits(operand.type), 8 * operand.bytes);
    const std::uint64_t mask = bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
    for (unsigned lane = 0; lane < snippet.threads(); ++lane) {
      const std::size_t at = operand_offset(snippet, snippet.outputs, k) + std::size_t{lane} * operand.bytes;
      const std::uint64_t x = read_register(recorded, at, operand.bytes);
      const std::uint64_t y = read_register(replayed, at, operand.bytes);
      for (unsigned e = 0; e < element_count(operand.type); ++e) {
        ++result.values;
        const std::uint64_t xe = x >> (e * bits) & mask, ye = y >> (e * bits) & mask;
        if (is_same(snippet.rule, format, xe, ye, result.ulp_max)) continue;
        if (result.different++ == 0)
          result.example =
              fmt::format("thread {}, {}: {:0{}x} instead of {:0{}x}; inputs{}", lane, operand.name, y,
                          2 * operand.bytes, x, 2 * operand.bytes, describe_inputs(snippet, lane));
      }
    }
  }
  return result;
}

}  // namespace kernelites::recorded
