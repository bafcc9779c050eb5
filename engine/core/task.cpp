// SPDX-License-Identifier: Apache-2.0
// Words of element types and roles, and what follows from a task and a workload: shapes, counts, roofline.
#include "engine/core/task.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

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

/// One axis: a product of dim names and whole numbers.
std::int64_t axis_extent(std::string_view axis, const Workload& workload) {
  std::int64_t extent = 1;
  for (std::string_view rest = axis;;) {
    const auto star = rest.find('*');
    const std::string_view factor = rest.substr(0, star);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(factor.data(), factor.data() + factor.size(), value);
    if (error != std::errc() || end != factor.data() + factor.size()) {
      const auto found = workload.dims.find(std::string(factor));
      KERNELITES_ASSERT(found != workload.dims.end());  // parsing has checked every shape
      value = found->second;
    }
    extent *= value;
    if (star == std::string_view::npos) return extent;
    rest.remove_prefix(star + 1);
  }
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

const char* role_name(Role role) { return k_roles[static_cast<std::size_t>(role)]; }

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
  std::int64_t count = 1;
  for (const std::string& dim : task.rows) count *= axis_extent(dim, workload);
  return count;
}

RooflineCounts roofline_counts(const Task& task, const Workload& workload,
                               const std::map<std::string, double>& sums) {
  std::map<std::string, double> names;
  for (const auto& [name, value] : workload.dims) names[name] = static_cast<double>(value);
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
