// SPDX-License-Identifier: Apache-2.0
// Rules about tensors, and about what names them: gates, families, properties.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "engine/core/error.h"
#include "engine/core/formula.h"
#include "engine/core/property_kind.h"
#include "engine/core/task_rules.h"

namespace kernelites {
namespace {

constexpr std::size_t k_families_max = 64;
constexpr std::size_t k_properties_max = 64;

bool has_axis(const TensorSpec& tensor, std::string_view axis) {
  return std::find(tensor.shape.begin(), tensor.shape.end(), axis) != tensor.shape.end();
}

bool is_metadata(const TensorSpec* tensor) { return tensor && tensor->role == Role::metadata; }

/// An axis is a formula over dims; which value it has is checked for every workload.
void check_axis(const Task& task, const std::string& axis, const std::string& field, const RulePlace& place) {
  std::map<std::string, double> names;
  for (const DimSpec& dim : task.dims) names[dim.name] = 1 << 10;
  try {
    evaluate_formula(axis, names);
  } catch (const Error& error) {
    place.fail(field, fmt::format("axis \"{}\" is no formula over the dims ({}): {}", axis,
                                  dim_names(task, false), error.what()));
  }
}

void check_valid_part(const Task& task, const TensorSpec& tensor, const RulePlace& place) {
  const std::string field = fmt::format("tensors.{}.valid", tensor.name);
  const ValidPart& part = *tensor.valid;
  const auto metadata = [&](const char* key, const std::string& name, std::size_t rank) {
    const TensorSpec* found = find_tensor(task, name);
    if (!is_metadata(found) || found->shape.size() != rank) {
      place.fail(fmt::format("{}.{}", field, key),
                 fmt::format("expected a metadata tensor of rank {}", rank));
    }
    return found;
  };
  if (!part.offsets.empty()) {
    metadata("offsets", part.offsets, 1);
    return;
  }
  const TensorSpec* lengths = metadata("lengths", part.lengths, 1);
  if (!part.table.empty()) {
    const TensorSpec* table = metadata("table", part.table, 2);
    if (table->shape.front() != lengths->shape.front()) {
      place.fail(field + ".table", "expected as many rows as there are lengths");
    }
    if (tensor.shape.size() < 2)
      place.fail(field + ".table", "the tensor needs an axis of slots after that of pages");
    return;
  }
  if (std::find(tensor.shape.begin() + 1, tensor.shape.end(), part.axis) == tensor.shape.end()) {
    place.fail(field + ".axis", fmt::format("\"{}\" is not an axis after the leading one", part.axis));
  }
  if (lengths->shape != std::vector{tensor.shape.front()}) {
    place.fail(field + ".lengths",
               fmt::format("expected a metadata tensor of shape [\"{}\"]", tensor.shape.front()));
  }
}

void check_fill(const Task& task, const Fill& fill, const std::string& field, const RulePlace& place) {
  if (!fill.of.empty() && !find_dim(task, fill.of)) {
    place.fail(field, fmt::format("\"{}\" is not a dim; known: {}", fill.of, dim_names(task, false)));
  }
  if (fill.lengths.empty()) return;
  const TensorSpec* lengths = find_tensor(task, fill.lengths);
  if (!is_metadata(lengths) || lengths->shape.size() != 1) {
    place.fail(field + ".lengths", fmt::format("\"{}\" is not a metadata tensor of rank 1", fill.lengths));
  }
}

void check_rows(const Task& task, const std::vector<std::string>& rows, const std::string& field,
                const RulePlace& place) {
  if (rows.empty()) place.fail(field, "expected at least one dim");
  for (const std::string& row : rows) {
    if (!find_dim(task, row))
      place.fail(field, fmt::format("\"{}\" is not a dim; known: {}", row, dim_names(task, false)));
  }
}

void check_output(const Task& task, const TensorSpec& tensor, const RulePlace& place) {
  if (!tensor.rows.empty()) check_rows(task, tensor.rows, fmt::format("tensors.{}.rows", tensor.name), place);
  const auto& rows = tensor.rows.empty() ? task.rows : tensor.rows;
  for (const std::string& row : rows) {
    const auto count = std::count_if(tensor.shape.begin(), tensor.shape.end(), [&](const std::string& axis) {
      return axis == row || axis.starts_with(row + "*");
    });
    if (count != 1) {
      place.fail(fmt::format("tensors.{}.shape", tensor.name),
                 fmt::format("an output's shape holds each of its rows once ({}), as an axis or as the first "
                             "factor of one; \"{}\" comes {} times",
                             fmt::join(rows, ", "), row, count));
    }
  }
}

void check_gates(const Task& task, const TensorSpec& tensor, const Precision& gates, const std::string& field,
                 const RulePlace& place) {
  const std::vector<ColumnAxis> columns = column_axes(task, tensor);
  for (const std::string& axis : gates.per) {
    const bool is_known = std::any_of(columns.begin(), columns.end(),
                                      [&](const ColumnAxis& column) { return column.extent == axis; });
    if (!is_known) place.fail(field + ".per", fmt::format("\"{}\" is not an axis beside the rows", axis));
  }
  const bool is_integer = tensor.dtype == Dtype::i8 || tensor.dtype == Dtype::u8 ||
                          tensor.dtype == Dtype::i32 || tensor.dtype == Dtype::i64;
  if (gates.compare == Compare::selection) {
    if (tensor.dtype != Dtype::i32 && tensor.dtype != Dtype::i64) {
      place.fail(field + ".compare", "a selection is of i32 or i64 indices");
    }
    if (columns.size() != 1) place.fail(field + ".compare", "a selection has one axis beside the rows");
  }
  if (gates.bits > 0 && !is_integer)
    place.fail(field + ".bits", "several codes share an integer element only");
  if (gates.bits > static_cast<std::int64_t>(8 * dtype_bytes(tensor.dtype)))
    place.fail(field + ".bits", "a code is wider than the element");
  if (gates.bits > 0 && columns.empty()) place.fail(field + ".bits", "needs an axis beside the rows");
}

}  // namespace

void RulePlace::fail(std::string_view field, std::string_view problem) const {
  throw ConfigError(where, field, problem);
}

const DimSpec* find_dim(const Task& task, std::string_view name) {
  const auto found =
      std::find_if(task.dims.begin(), task.dims.end(), [&](const DimSpec& dim) { return dim.name == name; });
  return found == task.dims.end() ? nullptr : &*found;
}

const TensorSpec* find_tensor(const Task& task, std::string_view name) {
  const auto found = std::find_if(task.tensors.begin(), task.tensors.end(),
                                  [&](const TensorSpec& tensor) { return tensor.name == name; });
  return found == task.tensors.end() ? nullptr : &*found;
}

std::string dim_names(const Task& task, bool only_variable) {
  std::vector<std::string> names;
  for (const DimSpec& dim : task.dims) {
    if (!only_variable || !dim.constant) names.push_back(dim.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

void check_tensor_rules(const Task& task, const RulePlace& place) {
  for (const TensorSpec& tensor : task.tensors) {
    const std::string field = "tensors." + tensor.name;
    for (const std::string& axis : tensor.shape) check_axis(task, axis, field + ".shape", place);
    for (const Fill& fill : tensor.fill) check_fill(task, fill, field + ".fill", place);
    for (const auto& [key, axis] : {std::pair{"along", tensor.along}, std::pair{"heads", tensor.heads}}) {
      if (!axis.empty() && !has_axis(tensor, axis))
        place.fail(fmt::format("{}.{}", field, key), fmt::format("\"{}\" is not an axis of the shape", axis));
    }
    if (tensor.valid) check_valid_part(task, tensor, place);
  }
}

void check_output_rules(const Task& task, const RulePlace& place) {
  check_rows(task, task.rows, "rows", place);
  std::size_t outputs = 0;
  for (const TensorSpec& tensor : task.tensors) {
    if (tensor.role != Role::output) continue;
    ++outputs;
    check_output(task, tensor, place);
    const auto gates = task.precision.find(tensor.name);
    if (gates == task.precision.end()) place.fail("precision." + tensor.name, "is missing");
    check_gates(task, tensor, gates->second, "precision." + tensor.name, place);
  }
  if (outputs == 0) place.fail("tensors", "expected at least one output");
  if (task.precision.size() != outputs) place.fail("precision", "names a tensor that is not an output");
}

void check_family_rules(const Task& task, const RulePlace& place) {
  if (task.families.empty() || task.families.size() > k_families_max) {
    place.fail("families", fmt::format("expected 1 to {} families", k_families_max));
  }
  for (const InputFamily& family : task.families) {
    for (const auto& [name, fill] : family.fill) {
      const TensorSpec* tensor = find_tensor(task, name);
      if (!tensor || tensor->role != Role::input) {
        place.fail(fmt::format("families.{}.fill.{}", family.name, name), "is not an input tensor");
      }
    }
    for (const auto& [name, gates] : family.precision) {
      const std::string field = fmt::format("families.{}.precision.{}", family.name, name);
      const auto own = task.precision.find(name);
      if (own == task.precision.end()) place.fail(field, "is not an output tensor");
      // One reference serves all families: what it computes cannot change with the inputs.
      if (gates.compare != own->second.compare || gates.over != own->second.over ||
          gates.bits != own->second.bits || (gates.emulated > 0) != (own->second.emulated > 0)) {
        place.fail(field, "is another sort of comparison than the task's");
      }
      check_gates(task, *find_tensor(task, name), gates, field, place);
    }
  }
}

/// An output without the dim of the tokens would be compared nowhere.
void check_future(const Task& task, const Property& property, const std::string& field,
                  const RulePlace& place) {
  if (property.kind != "future") return;
  if (property.dims.size() > 2)
    place.fail(field + ".dims", "expected the dim of the tokens, and that of the queries");
  for (const auto& [output, factor] : property.output) {
    const auto& shape = find_tensor(task, output)->shape;
    if (std::find(shape.begin(), shape.end(), property.dims.back()) == shape.end())
      place.fail(field + ".dims", fmt::format("\"{}\" has no axis {}", output, property.dims.back()));
  }
}

void check_property_rules(const Task& task, const RulePlace& place) {
  if (task.properties.size() > k_properties_max) {
    place.fail("properties", fmt::format("expected at most {} properties", k_properties_max));
  }
  for (const Property& property : task.properties) {
    const std::string field = "properties." + property.name;
    const auto expect_role = [&](const std::string& key, const std::string& name, Role role) {
      const TensorSpec* tensor = find_tensor(task, name);
      if (!tensor || tensor->role != role)
        place.fail(fmt::format("{}.{}", field, key),
                   fmt::format("\"{}\" is not an {} tensor", name, role_name(role)));
    };
    const bool is_family = property.family.empty() || std::any_of(task.families.begin(), task.families.end(),
                                                                  [&](const InputFamily& family) {
                                                                    return family.name == property.family;
                                                                  });
    if (!is_family) place.fail(field + ".family", fmt::format("\"{}\" is not a family", property.family));
    for (const std::string& tensor : property.tensors) expect_role("tensors", tensor, Role::input);
    for (const auto& [output, factor] : property.output) expect_role("outputs", output, Role::output);
    for (const std::string& dim : property.dims) {
      if (!find_dim(task, dim)) place.fail(field + ".dims", fmt::format("\"{}\" is not a dim", dim));
    }
    check_future(task, property, field, place);
    for (const PropertyKey& key : find_property_kind(property.kind)->words) {
      if (!property.word.contains(std::string(key.name))) continue;  // optional
      const std::string& name = property.word.at(std::string(key.name));
      if (key.names == PropertyWord::metadata) expect_role(std::string(key.name), name, Role::metadata);
      if (key.names == PropertyWord::output) expect_role(std::string(key.name), name, Role::output);
      if (key.names == PropertyWord::workload && !task.find_workload(name)) {
        place.fail(fmt::format("{}.{}", field, key.name), fmt::format("\"{}\" is not a workload", name));
      }
    }
  }
}

}  // namespace kernelites
