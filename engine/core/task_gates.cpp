// SPDX-License-Identifier: Apache-2.0
// Reads what is demanded of outputs: gates against the reference, and properties that need none.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "engine/core/error.h"
#include "engine/core/property_kind.h"
#include "engine/core/task_sections.h"

namespace kernelites {
namespace {

constexpr std::array k_compares{Compare::values, Compare::log_sum_exp, Compare::selection,
                                Compare::codes,  Compare::bitmap,      Compare::exact};
constexpr std::int64_t k_bits_max = 64;

/// Stated by "compare"; where it is not, an absolute limit means log-sum-exp.
Compare read_compare(ObjectReader& reader) {
  if (!reader.has("compare")) return reader.has("absolute") ? Compare::log_sum_exp : Compare::values;
  const auto word = reader.required<std::string>("compare");
  std::vector<std::string_view> known;
  for (const Compare compare : k_compares) {
    if (word == compare_name(compare)) return compare;
    known.push_back(compare_name(compare));
  }
  reader.fail("compare", fmt::format("\"{}\" is no comparison; known: {}", word, fmt::join(known, ", ")));
}

double read_limit(ObjectReader& reader, const char* key, bool is_needed, const char* why) {
  const double limit = reader.optional<double>(key, 0);
  if (!(limit >= 0)) reader.fail(key, "expected a limit that is not negative");
  if (is_needed && !(limit > 0)) reader.fail(key, fmt::format("expected a positive limit{}", why));
  return limit;
}

void read_values(ObjectReader& reader, Precision& precision) {
  precision.row = read_limit(reader, "row", true, " (or absolute, for log-sum-exp outputs)");
  precision.element_ulp = read_limit(reader, "element_ulp", false, "");
  precision.element_rms = read_limit(reader, "element_rms", true, "");
  precision.emulated = read_limit(reader, "emulated", false, "");
  if (reader.has("absolute"))
    reader.fail("absolute", "does not go with row: one is for values, one for log-sum-exp");
}

void read_log_sum_exp(ObjectReader& reader, Precision& precision) {
  precision.absolute = read_limit(reader, "absolute", true, "");
  precision.element_ulp = read_limit(reader, "element_ulp", false, "");
  precision.over = reader.optional<std::string>("terms", "");
  for (const char* key : {"row", "element_rms"}) {
    if (reader.has(key))
      reader.fail(key, "does not go with absolute: one is for values, one for log-sum-exp");
  }
}

void read_selection(ObjectReader& reader, Precision& precision) {
  precision.over = reader.required<std::string>("over");
  precision.is_ordered = reader.optional<bool>("ordered", false);
  precision.tie = read_limit(reader, "tie", false, "");
  precision.tie_rms = read_limit(reader, "tie_rms", false, "");
}

void read_codes(ObjectReader& reader, Precision& precision) {
  precision.distance = read_limit(reader, "distance", true, "; 0.5 is exact rounding");
  precision.bits = reader.optional<std::int64_t>("bits", 0);
  precision.is_signed = reader.optional<bool>("signed", false);
  if (precision.bits < 0 || precision.bits > k_bits_max || (precision.bits & (precision.bits - 1)) != 0) {
    reader.fail("bits", "expected a power of two up to 64, or nothing for one code an element");
  }
}

}  // namespace

Precision read_precision(ObjectReader& reader) {
  Precision precision;
  precision.name = reader.required<std::string>("name");
  precision.compare = read_compare(reader);
  if (precision.compare == Compare::values) read_values(reader, precision);
  if (precision.compare == Compare::log_sum_exp) read_log_sum_exp(reader, precision);
  if (precision.compare == Compare::selection) read_selection(reader, precision);
  if (precision.compare == Compare::codes) read_codes(reader, precision);
  if (precision.compare == Compare::bitmap) {
    precision.bits = 1;
    precision.tie = read_limit(reader, "tie", false, "");
  }
  if (precision.compare == Compare::selection) return precision;
  precision.per = reader.optional<std::vector<std::string>>("per", {});
  precision.tile = reader.optional<std::int64_t>("tile", 1);
  if (precision.tile < 1) reader.fail("tile", "expected at least 1");
  if (precision.tile > 1 && precision.per.empty()) reader.fail("tile", "needs an axis in \"per\"");
  return precision;
}

Property read_property(const std::string& name, ObjectReader& reader) {
  Property property;
  property.name = name;
  property.kind = reader.required<std::string>("kind");
  const PropertyKind* kind = find_property_kind(property.kind);
  if (!kind) {
    std::vector<std::string_view> known;
    for (const PropertyKind& other : property_kinds()) known.push_back(other.name);
    reader.fail("kind", fmt::format("\"{}\" is no kind of property; known: {}", property.kind,
                                    fmt::join(known, ", ")));
  }
  property.family = reader.optional<std::string>("family", "");
  property.is_exact = reader.optional<bool>("exact", kind->is_exact);
  if (kind->has_tensors) property.tensors = reader.required<std::vector<std::string>>("tensors");
  if (kind->has_dims) property.dims = reader.required<std::vector<std::string>>("dims");
  for (const PropertyKey& key : kind->words) {
    const std::string word(key.name);
    if (key.is_optional && !reader.has(word.c_str())) continue;
    property.word[word] = reader.required<std::string>(word.c_str());
  }
  for (const PropertyNumber& number : kind->numbers) {
    const std::string word(number.name);
    property.number[word] = reader.optional<double>(word.c_str(), number.fallback);
  }
  const Json& outputs = reader.member("outputs");
  if (!outputs.is_object() || outputs.empty()) reader.fail("outputs", "expected an object: output -> factor");
  ObjectReader factors(outputs, reader.where(), reader.field("outputs"));
  for (const auto& [output, value] : outputs.items()) {
    property.output[output] = factors.required<double>(output.c_str());
  }
  return property;
}

}  // namespace kernelites
