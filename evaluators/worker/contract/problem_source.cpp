// SPDX-License-Identifier: Apache-2.0
// Generates `struct Problem` and the translation units around a candidate.
#include "evaluators/worker/contract/problem_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "engine/core/embedded_file.h"
#include "engine/core/error.h"

namespace kernelites {
extern const std::vector<EmbeddedFile> k_contract_headers;
}

namespace kernelites::worker {
namespace {

/// Standard and driver headers that lead to std.cuh or plan.cuh: NVRTC has none of them.
constexpr std::string_view k_standard_names[] = {
    "stdint.h", "cstdint", "stddef.h",  "cstddef", "float.h",     "cfloat",  "limits.h",         "climits",
    "math.h",   "cmath",   "string.h",  "cstring", "assert.h",    "cassert", "stdlib.h",         "cstdlib",
    "limits",   "utility", "algorithm", "array",   "type_traits", "bit",     "initializer_list", "numbers"};
constexpr std::string_view k_driver_names[] = {"cuda.h", "cudaTypedefs.h"};
constexpr std::string_view k_print_names[] = {"stdio.h", "cstdio"};

bool is_written(Role role) { return role == Role::output || role == Role::inout; }

std::string member_type(const DimSpec& dim, std::span<const PlanPoint> points) {
  const auto is_large = [&](const PlanPoint& point) {
    return point.workload->dims.at(dim.name) > std::numeric_limits<int>::max();
  };
  return std::any_of(points.begin(), points.end(), is_large) ? "long long" : "int";
}

std::string constant_type(std::int64_t value) {
  return value > std::numeric_limits<int>::max() ? "long long" : "int";
}

const char* scalar_type(Dtype dtype) {
  switch (dtype) {
    case Dtype::f64:
      return "double";
    case Dtype::i32:
      return "int";
    case Dtype::i64:
      return "long long";
    default:
      return "float";
  }
}

std::string scalar_value(const ScalarSpec& scalar) {
  if (scalar.dtype == Dtype::i32 || scalar.dtype == Dtype::i64) {
    return std::to_string(static_cast<std::int64_t>(scalar.value));
  }
  return fmt::format("{}({:a})", scalar_type(scalar.dtype), scalar.value);  // hexadecimal: exact
}

std::string problem_struct(const Task& task, Form form, std::span<const PlanPoint> points) {
  std::string text = "struct Problem {\n";
  for (const DimSpec& dim : task.dims) {
    if (dim.constant) {
      text += fmt::format("  static constexpr {} {} = {};\n", constant_type(*dim.constant), dim.name,
                          *dim.constant);
    }
  }
  for (const DimSpec& dim : task.dims) {
    if (!dim.constant) text += fmt::format("  {} {};\n", member_type(dim, points), dim.name);
  }
  if (form == Form::reference) text += "  int R;\n";
  for (const ScalarSpec& scalar : task.scalars) {
    text += fmt::format("  {} {};\n", scalar_type(scalar.dtype), scalar.name);
  }
  for (std::size_t i = 0; i < tensor_count_in_form(task, form); ++i) {
    text += fmt::format("  kl::Tensor {};\n", tensor_in_form(task, i, form).name);
  }
  return text + "  kl::Device device;\n};\n";
}

std::string tensor_value(const Task& task, std::size_t index, Form form, const PlanPoint& point) {
  const std::vector<std::int64_t> shape = tensor_shape_in_form(task, index, form, point);
  std::vector<std::int64_t> stride(shape.size(), 1);
  for (std::size_t axis = shape.size(); axis-- > 1;) stride[axis - 1] = stride[axis] * shape[axis];
  return fmt::format("{{{}, kl::{}, {}, {{{}}}, {{{}}}}}", index,
                     dtype_name(tensor_in_form(task, index, form).dtype), shape.size(), fmt::join(shape, ","),
                     fmt::join(stride, ","));
}

std::string problem_value(const Task& task, Form form, const PlanPoint& point, const DeviceFacts& device) {
  std::vector<std::string> members;
  for (const DimSpec& dim : task.dims) {
    if (!dim.constant) members.push_back(std::to_string(point.workload->dims.at(dim.name)));
  }
  if (form == Form::reference) members.push_back(std::to_string(point.reference_rows));
  for (const ScalarSpec& scalar : task.scalars) members.push_back(scalar_value(scalar));
  for (std::size_t i = 0; i < tensor_count_in_form(task, form); ++i) {
    members.push_back(tensor_value(task, i, form, point));
  }
  members.push_back(fmt::format("{{{}, {}, {}, {}, {}}}", device.sm_count, device.shared_bytes_per_block_max,
                                device.registers_per_sm, device.l2_bytes, device.compute_capability));
  return fmt::format("Problem{{{}}}", fmt::join(members, ", "));
}

}  // namespace

std::vector<HeaderText> contract_headers() {
  std::vector<HeaderText> headers;
  for (const EmbeddedFile& file : k_contract_headers) {
    headers.push_back({"kernelites/" + std::string(file.name), std::string(file.text)});
  }
  for (std::string_view name : k_standard_names) {
    headers.push_back({std::string(name), "#include <kernelites/std.cuh>\n"});
  }
  for (std::string_view name : k_driver_names) {
    headers.push_back({std::string(name), "#include <kernelites/plan.cuh>\n"});
  }
  // A print would call out of the module, which the screen refuses: it is dropped.
  for (std::string_view name : k_print_names) {
    headers.push_back({std::string(name), "#define printf(...) ((void)0)\n"});
  }
  return headers;
}

std::size_t tensor_count_in_form(const Task& task, Form form) {
  return task.tensors.size() + (form == Form::reference ? 1 : 0);
}

TensorSpec tensor_in_form(const Task& task, std::size_t tensor, Form form) {
  if (tensor == task.tensors.size()) {
    return {
        .name = "rows", .dtype = Dtype::i64, .shape = {"R"}, .role = Role::input, .fill = {}, .meaning = ""};
  }
  TensorSpec spec = task.tensors.at(tensor);
  if (form == Form::reference && is_written(spec.role)) {
    spec.dtype = Dtype::f64;
    spec.role = Role::output;
    KERNELITES_ASSERT(spec.shape.size() >= task.rows.size());
    spec.shape.erase(spec.shape.begin(), spec.shape.begin() + static_cast<std::ptrdiff_t>(task.rows.size()));
    spec.shape.insert(spec.shape.begin(), "R");
  }
  return spec;
}

std::vector<std::int64_t> tensor_shape_in_form(const Task& task, std::size_t tensor, Form form,
                                               const PlanPoint& point) {
  TensorSpec spec = tensor_in_form(task, tensor, form);
  const bool has_rows = !spec.shape.empty() && spec.shape.front() == "R" && form == Form::reference;
  if (has_rows) spec.shape.erase(spec.shape.begin());
  std::vector<std::int64_t> shape = tensor_shape(spec, *point.workload);
  if (has_rows) shape.insert(shape.begin(), point.reference_rows);
  return shape;
}

std::string code_unit(const Task& task, Form form, std::span<const PlanPoint> points,
                      std::string_view source) {
  return fmt::format("#include <kernelites/plan.cuh>\n{}#line 1 \"{}\"\n{}\n",
                     problem_struct(task, form, points), k_candidate_file, source);
}

std::string plan_unit(const Task& task, Form form, std::span<const PlanPoint> points,
                      const DeviceFacts& device, std::string_view source) {
  std::string text = code_unit(task, form, points, source);
  text += fmt::format("#line 1 \"{}\"\n", k_suffix_file);
  // Each plan is encoded as soon as it is evaluated: keeping them all costs the evaluator twice the time.
  text +=
      "constexpr void kernelites_evaluate(const Problem& problem, kl::detail::Encoder& encoder) {\n"
      "  kl::Plan result;\n  ::plan(problem, result);\n  encoder.plan(result);\n}\n"
      "constexpr auto kernelites_evaluate_all() {\n";
  text += fmt::format(
      "  kl::detail::Stream<{0}> stream{{}};\n  kl::detail::Encoder encoder{{stream.words, 0}};\n"
      "  encoder.begin({0});\n",
      points.size());
  for (const PlanPoint& point : points) {
    text += fmt::format("  kernelites_evaluate({}, encoder);\n", problem_value(task, form, point, device));
  }
  text += fmt::format(
      "  return stream;\n}}\n"
      "extern \"C\" __device__ constexpr auto {} = kernelites_evaluate_all();\n",
      k_plans_symbol);
  return text;
}

}  // namespace kernelites::worker
