// SPDX-License-Identifier: Apache-2.0
// Reads tensors, their fills, and input families.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/core/error.h"
#include "engine/core/fill_kind.h"
#include "engine/core/task_sections.h"

namespace kernelites {
namespace {

Role read_role(ObjectReader& reader) {
  const auto word = reader.required<std::string>("role");
  for (const Role role : {Role::input, Role::metadata, Role::output}) {
    if (word == role_name(role)) return role;
  }
  if (word == role_name(Role::inout)) {
    reader.fail("role",
                "inout tensors need a declared write set, which this version of the format cannot state");
  }
  reader.fail("role", fmt::format("\"{}\" is not a role; known: input, metadata, output", word));
}

/// A parameter: a number, or a formula over dims and scalars.
void read_parameter(ObjectReader& reader, const FillParameter& parameter, Fill& fill) {
  const std::string name(parameter.name);
  if (reader.has(name.c_str()) && reader.member(name.c_str()).is_string()) {
    fill.formula[name] = reader.required<std::string>(name.c_str());
    return;
  }
  fill.number[name] = reader.optional<double>(name.c_str(), parameter.fallback);
}

bool is_fill_of(const FillKind& kind, bool is_metadata) {
  return kind.place == FillPlace::task || (kind.place == FillPlace::host) == is_metadata;
}

Fill read_fill(ObjectReader reader, bool is_metadata) {
  Fill fill{
      .kind = reader.required<std::string>("kind"), .number = {}, .formula = {}, .of = {}, .lengths = {}};
  const FillKind* kind = find_fill_kind(fill.kind);
  if (!kind || !is_fill_of(*kind, is_metadata)) {
    std::vector<std::string_view> known;
    for (const FillKind& other : fill_kinds()) {
      if (is_fill_of(other, is_metadata)) known.push_back(other.name);
    }
    reader.fail("kind", fmt::format("\"{}\" is not a fill of {} tensors; known: {}", fill.kind,
                                    is_metadata ? "metadata" : "input", fmt::join(known, ", ")));
  }
  for (const FillParameter& parameter : kind->parameters) read_parameter(reader, parameter, fill);
  if (kind->place == FillPlace::device) {
    for (const FillParameter& modifier : fill_modifiers()) {
      if (reader.has(std::string(modifier.name).c_str())) read_parameter(reader, modifier, fill);
    }
  }
  if (kind->has_bound) fill.of = reader.required<std::string>("of");
  if (kind->has_lengths) fill.lengths = reader.required<std::string>("lengths");
  reader.finish();
  return fill;
}

/// A fill may be written alone or, for metadata, as the array of contents that are rotated.
std::vector<Fill> read_fills(ObjectReader& reader, const char* key, bool is_metadata) {
  const Json& value = reader.member(key);
  if (!value.is_array())
    return {read_fill(ObjectReader(value, reader.where(), reader.field(key)), is_metadata)};
  if (!is_metadata || value.empty())
    reader.fail(key, "expected an object, or for metadata one or more of them");
  std::vector<Fill> fills;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string path = fmt::format("{}[{}]", reader.field(key), i);
    fills.push_back(read_fill(ObjectReader(value[i], reader.where(), path), is_metadata));
  }
  return fills;
}

ValidPart read_valid(ObjectReader valid) {
  ValidPart part;
  if (valid.has("offsets")) {
    part.offsets = valid.required<std::string>("offsets");
  } else {
    part.lengths = valid.required<std::string>("lengths");
    if (valid.has("table")) {
      part.table = valid.required<std::string>("table");
    } else {
      part.axis = valid.required<std::string>("axis");
    }
  }
  valid.finish();
  return part;
}

}  // namespace

TensorSpec read_tensor(const std::string& name, ObjectReader& reader) {
  TensorSpec tensor;
  tensor.name = name;
  tensor.dtype = read_dtype(reader);
  tensor.role = read_role(reader);
  tensor.shape = reader.required<std::vector<std::string>>("shape");
  if (tensor.shape.empty() || tensor.shape.size() > 6) reader.fail("shape", "expected one to six axes");
  tensor.meaning = reader.optional<std::string>("meaning", "");
  const bool is_metadata = tensor.role == Role::metadata;
  if (is_metadata && tensor.dtype != Dtype::i32) reader.fail("dtype", "metadata is i32");
  if (tensor.role == Role::output) {
    tensor.rows = reader.optional<std::vector<std::string>>("rows", {});
    if (reader.has("rows") && tensor.rows.empty()) reader.fail("rows", "expected at least one dim");
    return tensor;
  }
  tensor.fill = read_fills(reader, "fill", is_metadata);
  if (is_metadata) return tensor;
  tensor.along = reader.optional<std::string>("along", "");
  tensor.heads = reader.optional<std::string>("heads", "");
  if (reader.has("valid")) {
    tensor.valid = read_valid(ObjectReader(reader.member("valid"), reader.where(), reader.field("valid")));
  }
  return tensor;
}

InputFamily read_family(const std::string& name, ObjectReader& reader) {
  InputFamily family{.name = name,
                     .fill = {},
                     .precision = {},
                     .hidden = reader.optional<double>("hidden", 0),
                     .catches = reader.required<std::string>("catches")};
  if (!(family.hidden >= 0 && family.hidden < 1)) reader.fail("hidden", "expected a share from 0 to below 1");
  const Json& fills = reader.member("fill");
  if (!fills.is_object()) reader.fail("fill", "expected an object: tensor -> fill");
  for (const auto& [tensor, fill] : fills.items()) {
    const std::string path = fmt::format("{}.{}", reader.field("fill"), tensor);
    family.fill[tensor] = read_fill(ObjectReader(fill, reader.where(), path), /*is_metadata=*/false);
  }
  if (reader.has("precision")) {
    for_each_named(reader, "precision", [&](const std::string& output, ObjectReader& gates) {
      family.precision[output] = read_precision(gates);
    });
  }
  return family;
}

}  // namespace kernelites
