// SPDX-License-Identifier: Apache-2.0
// Words of element types and roles, and what follows from a task and a workload: shapes, counts, roofline.
#include "engine/core/task.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/core/error.h"
#include "engine/core/formula.h"

namespace kernelites {
namespace {

struct DtypeRow {
  const char* name;
  std::size_t bytes;
};

// In the order of the enumerators; stored words, append only.
constexpr std::array<DtypeRow, 10> k_dtypes{{{"f16", 2},
                                             {"bf16", 2},
                                             {"f32", 4},
                                             {"f64", 8},
                                             {"e4m3", 1},
                                             {"e5m2", 1},
                                             {"i8", 1},
                                             {"u8", 1},
                                             {"i32", 4},
                                             {"i64", 8}}};
constexpr std::array k_roles{"input", "metadata", "output", "inout"};

constexpr std::array k_compares{"values", "log_sum_exp", "selection", "codes", "bitmap", "exact"};
/// Beyond this a double no longer counts in ones.
constexpr double k_whole_max = 0x1p53;

std::map<std::string, double> dim_values(const Workload& workload) {
  std::map<std::string, double> names;
  for (const auto& [name, value] : workload.dims) names[name] = static_cast<double>(value);
  return names;
}

/// Most axes are one dim.
std::int64_t axis_extent(const std::string& axis, const Workload& workload) {
  const auto dim = workload.dims.find(axis);
  return dim != workload.dims.end() ? dim->second : whole_number(axis, workload);
}

/// Sum of a metadata tensor when every entry is at its bound.
double full_sum(const TensorSpec& tensor, const Workload& workload) {
  const double count = static_cast<double>(element_count(tensor, workload));
  if (tensor.fill.empty() || tensor.fill.front().of.empty()) return count;
  return count * static_cast<double>(workload.dims.at(tensor.fill.front().of));
}

}  // namespace

std::size_t dtype_bytes(Dtype dtype) { return k_dtypes[static_cast<std::size_t>(dtype)].bytes; }

const char* dtype_name(Dtype dtype) { return k_dtypes[static_cast<std::size_t>(dtype)].name; }

std::optional<Dtype> dtype_from_name(std::string_view name) {
  for (std::size_t i = 0; i < k_dtypes.size(); ++i) {
    if (name == k_dtypes[i].name) return static_cast<Dtype>(i);
  }
  return std::nullopt;
}

const char* compare_name(Compare compare) { return k_compares[static_cast<std::size_t>(compare)]; }

const char* role_name(Role role) { return k_roles[static_cast<std::size_t>(role)]; }

bool is_computed(const TensorSpec& tensor) {
  return !tensor.fill.empty() && tensor.fill.front().kind == "computed";
}

const TensorSpec& Task::tensor(std::string_view tensor_name) const {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const TensorSpec& candidate) { return candidate.name == tensor_name; });
  KERNELITES_ASSERT(found != tensors.end());
  return *found;
}

const Workload* Task::find_workload(std::string_view workload_name) const {
  for (const auto* workloads : {&bench, &check}) {
    for (const Workload& workload : *workloads) {
      if (workload.name == workload_name) return &workload;
    }
  }
  return nullptr;
}

const Precision& precision_of(const Task& task, const InputFamily& family, const std::string& output) {
  const auto own = family.precision.find(output);
  return own != family.precision.end() ? own->second : task.precision.at(output);
}

std::vector<std::int64_t> tensor_shape(const TensorSpec& tensor, const Workload& workload) {
  std::vector<std::int64_t> shape;
  for (const std::string& axis : tensor.shape) shape.push_back(axis_extent(axis, workload));
  return shape;
}

std::int64_t element_count(const TensorSpec& tensor, const Workload& workload) {
  std::int64_t count = 1;
  for (const std::string& axis : tensor.shape) count *= axis_extent(axis, workload);
  return count;
}

std::int64_t row_count(const Task& task, const Workload& workload) {
  return row_count(RowGroup{.suffix = "", .dims = task.rows}, workload);
}

std::int64_t row_count(const RowGroup& group, const Workload& workload) {
  std::int64_t count = 1;
  for (const std::string& dim : group.dims) count *= axis_extent(dim, workload);
  return count;
}

std::vector<RowGroup> row_groups(const Task& task) {
  std::vector<RowGroup> groups{{.suffix = "", .dims = task.rows}};
  for (const TensorSpec& tensor : task.tensors) {
    if (tensor.role != Role::output || tensor.rows.empty()) continue;
    const bool is_known = std::any_of(groups.begin(), groups.end(),
                                      [&](const RowGroup& group) { return group.dims == tensor.rows; });
    if (!is_known) groups.push_back({.suffix = "_" + tensor.name, .dims = tensor.rows});
  }
  return groups;
}

std::size_t row_group_of(const Task& task, const TensorSpec& output) {
  const auto groups = row_groups(task);
  if (output.rows.empty()) return 0;
  const auto found = std::find_if(groups.begin(), groups.end(),
                                  [&](const RowGroup& group) { return group.dims == output.rows; });
  KERNELITES_ASSERT(found != groups.end());
  return static_cast<std::size_t>(found - groups.begin());
}

std::vector<ColumnAxis> column_axes(const Task& task, const TensorSpec& output) {
  const std::vector<std::string>& rows = output.rows.empty() ? task.rows : output.rows;
  std::vector<ColumnAxis> columns;
  for (std::size_t axis = 0; axis < output.shape.size(); ++axis) {
    const std::string& text = output.shape[axis];
    const std::string first = text.substr(0, text.find('*'));
    if (std::find(rows.begin(), rows.end(), first) == rows.end()) {
      columns.push_back({.axis = axis, .extent = text});
    } else if (first.size() < text.size()) {
      columns.push_back({.axis = axis, .extent = text.substr(first.size() + 1)});
    }
  }
  return columns;
}

std::map<std::string, double> formula_names(const Task& task, const Workload& workload) {
  std::map<std::string, double> names = dim_values(workload);
  for (const ScalarSpec& scalar : task.scalars) names[scalar.name] = scalar.value;
  return names;
}

std::int64_t whole_number(const std::string& formula, const Workload& workload) {
  const double value = evaluate_formula(formula, dim_values(workload));
  if (!(value >= 1 && value < k_whole_max && value == std::floor(value))) {
    throw Error(fmt::format("\"{}\" is {}, and not a whole number of at least 1", formula, value));
  }
  return static_cast<std::int64_t>(value);
}

RooflineCounts roofline_counts(const Task& task, const Workload& workload,
                               const std::map<std::string, double>& sums) {
  std::map<std::string, double> names = dim_values(workload);
  for (const TensorSpec& tensor : task.tensors) {
    if (tensor.role != Role::metadata) continue;
    const auto given = sums.find(tensor.name);
    names["sum_" + tensor.name] = given == sums.end() ? full_sum(tensor, workload) : given->second;
  }
  return {.flops = evaluate_formula(task.roofline.flops, names),
          .bytes = evaluate_formula(task.roofline.bytes, names),
          .exponentials = evaluate_formula(task.roofline.exponentials, names)};
}

}  // namespace kernelites
