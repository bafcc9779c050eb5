// SPDX-License-Identifier: Apache-2.0
// Generates `struct Problem` and the translation units around a candidate.
#include "evaluators/worker/contract/problem_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <set>

#include "engine/core/embedded_file.h"
#include "engine/core/error.h"
#include "evaluators/worker/contract/plan_batch.h"

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

std::string scalar_value(const ScalarSpec& scalar) {
  if (scalar.dtype == Dtype::i32 || scalar.dtype == Dtype::i64) {
    return std::to_string(static_cast<std::int64_t>(scalar.value));
  }
  return fmt::format("{}({:a})", scalar_type(scalar.dtype), scalar.value);  // hexadecimal: exact
}

/// Codes in one element of an output that packs several.
std::int64_t codes_in(const TensorSpec& output, const Precision& gates) {
  return gates.bits > 0 ? static_cast<std::int64_t>(8 * dtype_bytes(output.dtype)) / gates.bits : 1;
}

/// An output as the reference writes it: float64, listed rows, then what an element of the comparison needs.
TensorSpec reference_output(const Task& task, const TensorSpec& output) {
  const Precision& gates = task.precision.at(output.name);
  TensorSpec spec = output;
  spec.dtype = Dtype::f64;
  spec.role = Role::output;
  spec.shape = {"R" + row_groups(task).at(row_group_of(task, output)).suffix};
  for (const ColumnAxis& column : column_axes(task, output)) spec.shape.push_back(column.extent);
  if (gates.compare == Compare::selection) spec.shape.back() = gates.over;
  const std::int64_t codes = codes_in(output, gates);
  if (codes > 1) spec.shape.back() = fmt::format("({})*{}", spec.shape.back(), codes);
  return spec;
}

std::vector<TensorSpec> reference_tensors(const Task& task) {
  std::vector<TensorSpec> tensors, emulated;
  for (const TensorSpec& tensor : task.tensors) {
    tensors.push_back(is_written(tensor.role) ? reference_output(task, tensor) : tensor);
    if (!is_written(tensor.role) || !(task.precision.at(tensor.name).emulated > 0)) continue;
    emulated.push_back(tensors.back());
    emulated.back().name += "_emulated";
  }
  for (const RowGroup& group : row_groups(task)) {
    tensors.push_back({.name = "rows" + group.suffix, .dtype = Dtype::i64, .shape = {"R" + group.suffix}});
  }
  tensors.insert(tensors.end(), emulated.begin(), emulated.end());
  return tensors;
}

/// What the task's own kernel computes are outputs, what candidates write is not touched, and `draw` comes last.
std::vector<TensorSpec> input_tensors(const Task& task) {
  std::vector<TensorSpec> tensors = task.tensors;
  for (TensorSpec& tensor : tensors) tensor.role = is_computed(tensor) ? Role::output : Role::input;
  tensors.push_back({.name = "draw", .dtype = Dtype::i64, .shape = {"4"}});
  return tensors;
}

std::vector<TensorSpec> tensors_in_form(const Task& task, Form form) {
  if (form == Form::reference) return reference_tensors(task);
  return form == Form::inputs ? input_tensors(task) : task.tensors;
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
  if (form == Form::reference) {
    for (const RowGroup& group : row_groups(task)) text += fmt::format("  int R{};\n", group.suffix);
  }
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
  for (std::size_t g = 0; form == Form::reference && g < row_groups(task).size(); ++g)
    members.push_back(std::to_string(reference_row_count(task, g, point)));
  for (const ScalarSpec& scalar : task.scalars) members.push_back(scalar_value(scalar));
  for (std::size_t i = 0; i < tensor_count_in_form(task, form); ++i) {
    members.push_back(tensor_value(task, i, form, point));
  }
  members.push_back(fmt::format("{{{}, {}, {}, {}, {}}}", device.sm_count, device.shared_bytes_per_block_max,
                                device.registers_per_sm, device.l2_bytes, device.compute_capability));
  return fmt::format("Problem{{{}}}", fmt::join(members, ", "));
}

}  // namespace

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

std::int64_t reference_row_count(const Task& task, std::size_t group, const PlanPoint& point) {
  const std::int64_t total = row_count(row_groups(task).at(group), *point.workload);
  if (point.reference_rows == k_all_reference_rows) return total;
  return group == 0 ? point.reference_rows : std::min(total, point.reference_rows);
}

std::size_t tensor_count_in_form(const Task& task, Form form) { return tensors_in_form(task, form).size(); }

TensorSpec tensor_in_form(const Task& task, std::size_t tensor, Form form) {
  return tensors_in_form(task, form).at(tensor);
}

std::vector<std::int64_t> tensor_shape_in_form(const Task& task, std::size_t tensor, Form form,
                                               const PlanPoint& point) {
  const TensorSpec spec = tensor_in_form(task, tensor, form);
  if (form != Form::reference || tensor < task.tensors.size()) {
    if (form != Form::reference || !is_written(task.tensors.at(tensor).role))
      return tensor_shape(spec, *point.workload);
  }
  // The leading axis is the number of rows of a group: "R" and the group's suffix.
  const auto groups = row_groups(task);
  const auto found = std::find_if(groups.begin(), groups.end(), [&](const RowGroup& group) {
    return spec.shape.front() == "R" + group.suffix;
  });
  KERNELITES_ASSERT(found != groups.end());
  std::vector<std::int64_t> shape{
      reference_row_count(task, static_cast<std::size_t>(found - groups.begin()), point)};
  for (std::size_t axis = 1; axis < spec.shape.size(); ++axis)
    shape.push_back(whole_number(spec.shape[axis], *point.workload));
  return shape;
}

std::string code_unit(const Task& task, Form form, std::span<const PlanPoint> points,
                      std::string_view source) {
  const char* marker = form == Form::inputs ? "#define KERNELITES_INPUTS 1\n" : "";
  return fmt::format("#include <kernelites/plan.cuh>\n{}{}#line 1 \"{}\"\n{}\n", marker,
                     problem_struct(task, form, points), k_candidate_file, source);
}

std::string problem_declaration(const Task& task, Form form, std::span<const PlanPoint> typed_by) {
  return problem_struct(task, form, typed_by);
}

namespace {

/// Lines that end every macro of a name in `text`; names with "__", which are the compiler's own, keep theirs, and
/// `text` uses none of them. The candidate's would reach what stands behind it: the number of plans, say, tells a duel
/// from an examination; and "#define bf16 ..." is common.
std::string without_macros(std::string_view text) {
  const auto is_part = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  std::set<std::string_view> names;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    while (end < text.size() && is_part(text[end])) ++end;
    const std::string_view word = text.substr(at, end - at);
    at = std::max(end, at + 1);
    if (!word.empty() && !(word[0] >= '0' && word[0] <= '9') && !word.starts_with("__")) names.insert(word);
  }
  std::string lines;
  for (const std::string_view name : names) lines += fmt::format("#undef {}\n", name);
  return lines;
}

/// Behind the candidate: evaluates all plans into a stream with room for `words`. Its type is nothing that a candidate
/// could specialise.
std::string evaluation_suffix(const Task& task, Form form, std::span<const PlanPoint> points,
                              const DeviceFacts& device, const std::string& words) {
  // Each plan is encoded as soon as it is evaluated: keeping them all costs the evaluator twice the time.
  std::string text = fmt::format(
      "struct kernelites_stream {{ unsigned long long words[{}]; }};\n"
      "constexpr void kernelites_evaluate(const Problem& problem, kl::detail::Encoder& encoder) {{\n"
      "  kl::Plan result;\n  ::plan(problem, result);\n  encoder.plan(result);\n}}\n"
      "constexpr auto kernelites_evaluate_all() {{\n"
      "  kernelites_stream stream{{}};\n  kl::detail::Encoder encoder{{stream.words, 0}};\n"
      "  encoder.begin({});\n",
      words, points.size());
  for (const PlanPoint& point : points) {
    text += fmt::format("  kernelites_evaluate({}, encoder);\n", problem_value(task, form, point, device));
  }
  text += fmt::format(
      "  return stream;\n}}\n"
      "extern \"C\" __attribute__((device)) constexpr auto {} = kernelites_evaluate_all();\n",
      k_plans_symbol);
  // __device__ may be a macro of the candidate's own; what the toolkit's stands for is no macro unless one is made.
  return fmt::format("#line 1 \"{}\"\n#undef __attribute__\n{}{}", k_suffix_file, without_macros(text), text);
}

}  // namespace

std::string plan_unit(const Task& task, Form form, std::span<const PlanPoint> points,
                      const DeviceFacts& device, std::string_view source) {
  return code_unit(task, form, points, source) +
         evaluation_suffix(task, form, points, device,
                           fmt::format("2 + {} * kl::k_plan_words_max", points.size()));
}

std::string plan_batch_unit(const Task& task, Form form, std::span<const PlanPoint> typed_by,
                            std::span<const PlanPoint> points, const DeviceFacts& device,
                            std::string_view source, std::size_t words_max) {
  return code_unit(task, form, typed_by, source) +
         evaluation_suffix(task, form, points, device, std::to_string(2 + words_max));
}

}  // namespace kernelites::worker
