// SPDX-License-Identifier: Apache-2.0
// Rules between the sections of a task; each is one function, in the order in which later ones rely on
// earlier ones.
#include "engine/core/task_rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "engine/core/error.h"
#include "engine/core/formula.h"
#include "engine/core/roofline.h"

namespace kernelites {
namespace {

/// One tensor may hold this much in one workload: 2^40 elements fit no device, so it is a typing error.
constexpr std::int64_t k_elements_max = std::int64_t{1} << 40;
constexpr std::int64_t k_extent_max = std::int64_t{1} << 31;
constexpr std::size_t k_workloads_max = 64;

// Dims, scalars and tensors are members of one generated struct, `Problem`, next to the harness's own.
void check_names(const Task& task, const RulePlace& place) {
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

/// Every extent, number of columns and fill parameter has a value at `workload`.
void check_extents(const Task& task, const Workload& workload, const std::string& field,
                   const RulePlace& place) {
  try {
    for (const TensorSpec& tensor : task.tensors) {
      double count = 1;
      for (const std::int64_t extent : tensor_shape(tensor, workload)) count *= static_cast<double>(extent);
      if (count > static_cast<double>(k_elements_max)) {
        place.fail(field, fmt::format("tensor {} would have {:.3g} elements", tensor.name, count));
      }
    }
    for (const auto& [output, gates] : task.precision) {
      if (!gates.over.empty()) whole_number(gates.over, workload);
    }
    const auto names = formula_names(task, workload);
    const auto evaluate = [&](const Fill& fill) {
      for (const auto& [parameter, formula] : fill.formula) evaluate_formula(formula, names);
    };
    for (const TensorSpec& tensor : task.tensors)
      std::for_each(tensor.fill.begin(), tensor.fill.end(), evaluate);
    for (const InputFamily& family : task.families) {
      for (const auto& [tensor, fill] : family.fill) evaluate(fill);
    }
  } catch (const ConfigError&) {
    throw;
  } catch (const Error& error) {
    place.fail(field, error.what());
  }
}

/// REQUIRES: shapes are checked. Completes `workload` with the constant dims.
void complete_workload(const Task& task, Workload& workload, const std::string& field,
                       const RulePlace& place) {
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
  check_extents(task, workload, field, place);
}

void complete_workloads(Task& task, const RulePlace& place) {
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

void check_hold_out(const Task& task, const RulePlace& place) {
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

void check_roofline(const Task& task, const RulePlace& place) {
  try {
    for (const Workload& workload : task.bench) {
      const RooflineCounts counts = roofline_counts(task, workload);
      if (counts.bytes <= 0 || counts.flops < 0 || counts.exponentials < 0) {
        place.fail("roofline",
                   fmt::format("expected bytes > 0 and no negative count (workload {})", workload.name));
      }
      // A chip that holds nothing reloads for every pass.
      if (passes_of(task) > 1 && reloaded_bytes(task, workload, {.sm_count = 0, .l2_bytes = 0}) <= 0)
        place.fail("roofline",
                   fmt::format("expected pass_bytes and pass_pieces > 0 (workload {})", workload.name));
    }
  } catch (const ConfigError&) {
    throw;
  } catch (const Error& error) {
    place.fail("roofline", error.what());
  }
}

}  // namespace

void complete_and_check_task(Task& task, const std::string& where) {
  const RulePlace place{where};
  check_names(task, place);
  check_tensor_rules(task, place);
  check_output_rules(task, place);
  check_family_rules(task, place);
  complete_workloads(task, place);
  check_hold_out(task, place);
  check_property_rules(task, place);
  check_roofline(task, place);
}

}  // namespace kernelites
