// SPDX-License-Identifier: Apache-2.0
// Rules between the sections of a task; each is one function, in the order in which later ones rely on
// earlier ones.
#include "engine/core/task_rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "engine/core/error.h"

namespace kernelites {
namespace {

/// One tensor may hold this much in one workload: 2^40 elements fit no device, so it is a typing error.
constexpr std::int64_t k_elements_max = std::int64_t{1} << 40;
constexpr std::int64_t k_extent_max = std::int64_t{1} << 31;
constexpr std::size_t k_workloads_max = 64;
constexpr std::size_t k_families_max = 32;

struct Place {
  const std::string& where;
  [[noreturn]] void fail(std::string_view field, std::string_view problem) const {
    throw ConfigError(where, field, problem);
  }
};

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

// Dims, scalars and tensors are members of one generated struct, `Problem`, next to the harness's own.
void check_names(const Task& task, const Place& place) {
  std::set<std::string> names{"device", "rows", "R", "Problem", "plan", "kl"};
  const auto add = [&](const char* section, const std::string& name) {
    if (!names.insert(name).second) {
      place.fail(fmt::format("{}.{}", section, name),
                 "this name is taken by another dim, scalar, tensor or the harness");
    }
  };
  for (const DimSpec& dim : task.dims) add("dims", dim.name);
  for (const ScalarSpec& scalar : task.scalars) add("scalars", scalar.name);
  for (const TensorSpec& tensor : task.tensors) add("tensors", tensor.name);
}

void check_axis(const Task& task, const std::string& axis, const std::string& field, const Place& place) {
  const auto problem = [&](std::string_view factor) {
    place.fail(field, fmt::format("axis \"{}\": \"{}\" is neither a dim ({}) nor a whole number", axis,
                                  factor, dim_names(task, false)));
  };
  for (std::string_view rest = axis;;) {
    const auto star = rest.find('*');
    const std::string_view factor = rest.substr(0, star);
    const bool is_number = !factor.empty() && factor.size() <= 9 && factor[0] != '0' &&
                           factor.find_first_not_of("0123456789") == std::string_view::npos;
    if (!is_number && !find_dim(task, factor)) problem(factor);
    if (star == std::string_view::npos) return;
    rest.remove_prefix(star + 1);
  }
}

void check_valid_prefix(const Task& task, const TensorSpec& tensor, const Place& place) {
  const std::string field = fmt::format("tensors.{}.valid", tensor.name);
  const auto& axes = tensor.shape;
  if (std::find(axes.begin() + 1, axes.end(), tensor.valid->axis) == axes.end()) {
    place.fail(field + ".axis",
               fmt::format("\"{}\" is not an axis after the leading one", tensor.valid->axis));
  }
  const TensorSpec* lengths = find_tensor(task, tensor.valid->lengths);
  if (!lengths || lengths->role != Role::metadata || lengths->shape != std::vector{axes.front()}) {
    place.fail(field + ".lengths", fmt::format("expected a metadata tensor of shape [\"{}\"]", axes.front()));
  }
}

void check_tensors(const Task& task, const Place& place) {
  for (const TensorSpec& tensor : task.tensors) {
    const std::string field = "tensors." + tensor.name;
    for (const std::string& axis : tensor.shape) check_axis(task, axis, field + ".shape", place);
    for (const Fill& fill : tensor.fill) {
      if (!fill.of.empty() && !find_dim(task, fill.of)) {
        place.fail(field + ".fill",
                   fmt::format("\"{}\" is not a dim; known: {}", fill.of, dim_names(task, false)));
      }
    }
    if (tensor.valid) check_valid_prefix(task, tensor, place);
  }
}

void check_outputs(const Task& task, const Place& place) {
  if (task.rows.empty()) place.fail("rows", "expected at least one dim");
  for (const std::string& row : task.rows) {
    if (!find_dim(task, row))
      place.fail("rows", fmt::format("\"{}\" is not a dim; known: {}", row, dim_names(task, false)));
  }
  std::size_t outputs = 0;
  for (const TensorSpec& tensor : task.tensors) {
    if (tensor.role != Role::output) continue;
    ++outputs;
    if (tensor.shape.size() < task.rows.size() ||
        !std::equal(task.rows.begin(), task.rows.end(), tensor.shape.begin())) {
      place.fail(fmt::format("tensors.{}.shape", tensor.name),
                 fmt::format("an output's shape starts with the rows: {}", fmt::join(task.rows, ", ")));
    }
    if (!task.precision.contains(tensor.name)) place.fail("precision." + tensor.name, "is missing");
  }
  if (outputs == 0) place.fail("tensors", "expected at least one output");
  if (task.precision.size() != outputs) place.fail("precision", "names a tensor that is not an output");
}

void check_families(const Task& task, const Place& place) {
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
      if (!task.precision.contains(name)) {
        place.fail(fmt::format("families.{}.precision.{}", family.name, name), "is not an output tensor");
      }
    }
  }
}

/// REQUIRES: shapes are checked. Completes `workload` with the constant dims.
void complete_workload(const Task& task, Workload& workload, const std::string& field, const Place& place) {
  for (const auto& [name, extent] : workload.dims) {
    const DimSpec* dim = find_dim(task, name);
    if (!dim || dim->constant) {
      place.fail(fmt::format("{}.dims.{}", field, name),
                 fmt::format("is not a variable dim; known: {}", dim_names(task, true)));
    }
    if (extent < 1 || extent >= k_extent_max) {
      place.fail(fmt::format("{}.dims.{}", field, name), "expected a whole number from 1 to 2147483647");
    }
  }
  for (const DimSpec& dim : task.dims) {
    if (dim.constant) workload.dims[dim.name] = *dim.constant;
    if (!workload.dims.contains(dim.name))
      place.fail(fmt::format("{}.dims.{}", field, dim.name), "is missing");
  }
  for (const TensorSpec& tensor : task.tensors) {
    double count = 1;
    for (const std::int64_t extent : tensor_shape(tensor, workload)) count *= static_cast<double>(extent);
    if (count > static_cast<double>(k_elements_max)) {
      place.fail(field, fmt::format("tensor {} would have {:.3g} elements", tensor.name, count));
    }
  }
}

void complete_workloads(Task& task, const Place& place) {
  std::set<std::string> names;
  const auto complete = [&](std::vector<Workload>& workloads, const char* section) {
    if (workloads.empty() || workloads.size() > k_workloads_max) {
      place.fail(section, fmt::format("expected 1 to {} workloads", k_workloads_max));
    }
    for (std::size_t i = 0; i < workloads.size(); ++i) {
      const std::string field = fmt::format("{}[{}]", section, i);
      if (workloads[i].name.empty()) place.fail(field + ".name", "expected a name");
      if (!names.insert(workloads[i].name).second)
        place.fail(field + ".name", "another workload has this name");
      complete_workload(task, workloads[i], field, place);
    }
  };
  complete(task.check, "check");
  complete(task.bench, "bench");
}

void check_hold_out(const Task& task, const Place& place) {
  for (std::size_t i = 0; i < task.hold_out.size(); ++i) {
    Workload low;
    Workload high;
    const std::string field = fmt::format("hold_out[{}]", i);
    for (const auto& [name, range] : task.hold_out[i].dims) {
      if (range.first > range.second)
        place.fail(fmt::format("{}.dims.{}", field, name), "expected [low, high]");
      low.dims[name] = range.first;
      high.dims[name] = range.second;
    }
    complete_workload(task, low, field, place);
    complete_workload(task, high, field, place);
  }
}

void check_roofline(const Task& task, const Place& place) {
  try {
    for (const Workload& workload : task.bench) {
      const RooflineCounts counts = roofline_counts(task, workload);
      if (counts.bytes <= 0 || counts.flops < 0 || counts.exponentials < 0) {
        place.fail("roofline",
                   fmt::format("expected bytes > 0 and no negative count (workload {})", workload.name));
      }
    }
  } catch (const ConfigError&) {
    throw;
  } catch (const Error& error) {
    place.fail("roofline", error.what());
  }
}

}  // namespace

void complete_and_check_task(Task& task, const std::string& where) {
  const Place place{where};
  check_names(task, place);
  check_tensors(task, place);
  check_outputs(task, place);
  check_families(task, place);
  complete_workloads(task, place);
  check_hold_out(task, place);
  check_roofline(task, place);
}

}  // namespace kernelites
