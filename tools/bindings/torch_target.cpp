// SPDX-License-Identifier: Apache-2.0
// Fills the templates of the PyTorch package in.
#include "tools/bindings/torch_target.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cctype>
#include <set>

#include "engine/core/embedded_file.h"
#include "engine/core/error.h"
#include "tools/bindings/binding_texts.h"
#include "tools/bindings/operator_signature.h"
#include "tools/exporting/host_plan.h"
#include "tools/exporting/source_text_parts.h"

namespace kernelites {
namespace {

constexpr const char* k_space = "kernelites";

std::string package_of(const Task& task) { return "kernelites_" + task.name; }

std::string shape_text(const TensorSpec& tensor, bool is_python) {
  std::vector<std::string> axes;
  for (const std::string& axis : tensor.shape) axes.push_back(integer_formula(axis, is_python));
  const std::string text = fmt::format("{}", fmt::join(axes, ", "));
  return is_python ? fmt::format("({}{})", text, axes.size() == 1 ? "," : "") : "{" + text + "}";
}

// --- the binding ---

std::string parameters_of(const Task& task, const OperatorSignature& signature) {
  std::vector<std::string> parameters;
  for (const TensorSpec* tensor : signature.arguments)
    parameters.push_back(fmt::format("const at::Tensor& {}_given", tensor->name));
  for (const SignatureDim& dim : signature.dims)
    if (!dim.tensor) parameters.push_back("std::int64_t " + dim.name);
  for (const ScalarSpec& scalar : task.scalars) parameters.push_back("double " + scalar.name);
  return fmt::format("{}", fmt::join(parameters, ", "));
}

std::string dims_of(const Task& task, const OperatorSignature& signature) {
  std::string text;
  std::set<std::string> checked;
  for (const SignatureDim& dim : signature.dims) {
    if (!dim.tensor) continue;
    if (checked.insert(*dim.tensor).second)
      text += fmt::format("  check_axes({0}_given, \"{0}\", {1});\n", *dim.tensor,
                          task.tensor(*dim.tensor).shape.size());
    text += fmt::format("  const std::int64_t {} = {}_given.size({});\n", dim.name, *dim.tensor, dim.axis);
  }
  for (const DimSpec& dim : task.dims)
    if (dim.constant)
      text += fmt::format("  [[maybe_unused]] constexpr std::int64_t {} = {};\n", dim.name, *dim.constant);
  return text;
}

std::string result_of(const OperatorSignature& signature) {
  std::vector<std::string> names;
  for (const TensorSpec* tensor : signature.results) names.push_back(tensor->name);
  if (names.size() == 1) return names.front();
  return names.empty() ? "" : fmt::format("std::make_tuple({})", fmt::join(names, ", "));
}

/// Extents and scalars, each behind the word of its type.
std::string supports_parameters(const Task& task, const std::string& extent, const std::string& scalar) {
  std::vector<std::string> parameters;
  for (const std::string& dim : variable_dims(task)) parameters.push_back(extent + dim);
  for (const ScalarSpec& spec : task.scalars) parameters.push_back(scalar + spec.name);
  return fmt::format("{}", fmt::join(parameters, ", "));
}

std::map<std::string, std::string> binding_values(const Task& task, const std::string& space) {
  const OperatorSignature signature = signature_of(task);
  std::string checks, inputs, outputs, problem, tensors;
  for (const TensorSpec* tensor : signature.arguments) {
    checks += fmt::format("  check_tensor({0}_given, \"{0}\", {1}, where, {2});\n", tensor->name,
                          torch_scalar_type(tensor->dtype), shape_text(*tensor, false));
    if (tensor->role == Role::inout) {
      checks += fmt::format("  check_written({0}_given, \"{0}\");\n", tensor->name);
      inputs += fmt::format("  const at::Tensor& {0} = {0}_given;\n", tensor->name);
    } else {
      inputs += fmt::format("  const at::Tensor {0} = ready_input({0}_given);\n", tensor->name);
    }
  }
  std::string into = parameters_of(task, signature), into_checks;
  for (const TensorSpec* tensor : signature.results) {
    into += fmt::format(", const at::Tensor& {}", tensor->name);
    into_checks += fmt::format(
        "  check_tensor({0}, \"{0}\", {1}, where, "
        "{2});\n  check_written({0}, \"{0}\");\n",
        tensor->name, torch_scalar_type(tensor->dtype), shape_text(*tensor, false));
  }
  for (const TensorSpec* tensor : signature.results)
    outputs += fmt::format(
        "  const at::Tensor {} = at::empty({}, "
        "at::TensorOptions().dtype({}).device(where));\n",
        tensor->name, shape_text(*tensor, false), torch_scalar_type(tensor->dtype));
  for (const SignatureDim& dim : signature.dims) problem += fmt::format("  problem.{0} = {0};\n", dim.name);
  for (const ScalarSpec& scalar : task.scalars) problem += fmt::format("  problem.{0} = {0};\n", scalar.name);
  for (const TensorSpec& tensor : task.tensors)
    tensors += fmt::format("  tensors.{0} = {0}.data_ptr();\n", tensor.name);
  std::vector<std::string> returned(signature.results.size(), "at::Tensor");
  std::string upper = task.name;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return {{"name", task.name},
          {"NAME", upper},
          {"space", space},
          {"schema", torch_schema(task)},
          {"into_schema", torch_into_schema(task)},
          {"into_parameters", into},
          {"into_checks", into_checks},
          {"returned", returned.empty()       ? "void"
                       : returned.size() == 1 ? "at::Tensor"
                                              : fmt::format("std::tuple<{}>", fmt::join(returned, ", "))},
          {"parameters", parameters_of(task, signature)},
          {"first", signature.arguments.front()->name + "_given"},
          {"dims", dims_of(task, signature)},
          {"checks", checks},
          {"inputs", inputs},
          {"outputs", outputs},
          {"problem", problem},
          {"supports_parameters", supports_parameters(task, "std::int64_t ", "double ")},
          {"supports_schema", fmt::format("{}_supports({}, int device=0) -> bool", task.name,
                                          supports_parameters(task, "int ", "float "))},
          {"tensors", tensors},
          {"result", result_of(signature)}};
}

// --- the package ---

/// The operator without a device: shapes and types alone.
std::string fake_of(const Task& task, const OperatorSignature& signature) {
  std::vector<std::string> arguments, keywords, results;
  for (const TensorSpec* tensor : signature.arguments) arguments.push_back(tensor->name);
  std::string body;
  for (const SignatureDim& dim : signature.dims) {
    if (dim.tensor)
      body += fmt::format("    {} = {}.shape[{}]\n", dim.name, *dim.tensor, dim.axis);
    else
      keywords.push_back(dim.name);
  }
  for (const DimSpec& dim : task.dims)
    if (dim.constant) body += fmt::format("    {} = {}\n", dim.name, *dim.constant);
  for (const ScalarSpec& scalar : task.scalars) keywords.push_back(scalar.name);
  if (!keywords.empty()) arguments.push_back(fmt::format("*, {}", fmt::join(keywords, ", ")));
  for (const TensorSpec* tensor : signature.results)
    results.push_back(fmt::format("{}.new_empty({}, dtype={})", signature.arguments.front()->name,
                                  shape_text(*tensor, true), torch_python_type(tensor->dtype)));
  const std::string returned = results.empty() ? "None" : fmt::format("{}", fmt::join(results, ", "));
  const std::string into = fmt::format(
      "\n\n@torch.library.register_fake(\"{}::{}.into\")\ndef "
      "_{}_into_fake(*arguments, **keywords):\n    "
      "return None\n",
      k_space, task.name, task.name);
  const bool has_cdiv = returned.find("cdiv(") != std::string::npos;
  return fmt::format(
             "{}@torch.library.register_fake(\"{}::{}\")\ndef "
             "_{}_fake({}):\n{}    return {}\n",
             has_cdiv ? "def cdiv(a, b):\n    return (a + b - 1) // b\n\n\n" : "", k_space, task.name,
             task.name, fmt::join(arguments, ", "), body, returned) +
         into;
}

std::string meaning_of(const Task& task, const OperatorSignature& signature) {
  std::string text;
  const auto line = [&](const TensorSpec& tensor, const char* role) {
    text += fmt::format("    {} {} {} [{}]: {}\n", role, tensor.name, torch_python_type(tensor.dtype),
                        fmt::join(tensor.shape, ", "), plain_line(tensor.meaning));
  };
  for (const TensorSpec* tensor : signature.arguments)
    line(*tensor, tensor->role == Role::inout ? "in and out" : "in");
  for (const SignatureDim& dim : signature.dims)
    if (!dim.tensor) text += fmt::format("    in {} int\n", dim.name);
  for (const ScalarSpec& scalar : task.scalars)
    text += fmt::format("    in {} float: {}\n", scalar.name, plain_line(scalar.meaning));
  for (const TensorSpec* tensor : signature.results) line(*tensor, "out");
  return text;
}

std::map<std::string, std::string> package_values(const ExportInputs& inputs) {
  const Task& task = inputs.task;
  const OperatorSignature signature = signature_of(task);
  std::vector<std::string> arguments, keywords, passed;
  for (const TensorSpec* tensor : signature.arguments) arguments.push_back(tensor->name);
  passed = arguments;
  for (const SignatureDim& dim : signature.dims)
    if (!dim.tensor) keywords.push_back(dim.name);
  for (const ScalarSpec& scalar : task.scalars) keywords.push_back(scalar.name);
  for (const std::string& keyword : keywords) passed.push_back(fmt::format("{0}={0}", keyword));
  if (!keywords.empty()) arguments.push_back(fmt::format("*, {}", fmt::join(keywords, ", ")));
  return {{"name", task.name},
          {"package", package_of(task)},
          {"space", k_space},
          {"title", plain_line(task.title)},
          {"formula", plain_line(task.formula)},
          {"version", "1.0.0"},
          {"schema", torch_schema(task)},
          {"fake", fake_of(task, signature)},
          {"arguments", fmt::format("{}", fmt::join(arguments, ", "))},
          {"passed", fmt::format("{}", fmt::join(passed, ", "))},
          {"extents", supports_parameters(task, "", "")},
          {"meaning", meaning_of(task, signature)},
          {"flags", python_list(k_plan_flags)},
          {"cases", cases_json(inputs).dump(1)},
          {"plans", plan_words(inputs)},
          {"arms", arm_lines(inputs.portfolio)},
          {"domain", domain_lines(inputs)}};
}

}  // namespace

std::string torch_binding(const Task& task, const std::string& space) {
  return filled(binding_text("torch_binding.cpp.in"), binding_values(task, space));
}

std::vector<ExportFile> torch_files(const ExportInputs& inputs) {
  const auto values = package_values(inputs);
  const std::string package = package_of(inputs.task);
  std::vector<ExportFile> files;
  for (ExportFile& file : library_files(inputs)) {
    file.path = "csrc/" + file.path;
    files.push_back(std::move(file));
  }
  files.push_back({"csrc/torch_binding.cpp", torch_binding(inputs.task, k_space)});
  const auto add = [&](const std::string& path, const char* text) {
    files.push_back({path, filled(binding_text(text), values)});
  };
  add(package + "/__init__.py", "torch_package.py.in");
  add("setup.py", "torch_setup.py.in");
  add("pyproject.toml", "torch_project.toml.in");
  add("test/test_" + inputs.task.name + ".py", "torch_test.py.in");
  files.push_back({"test/cases.json", values.at("cases") + "\n"});
  files.push_back({"test/cases.py", binding_text("torch_cases.py")});
  files.push_back({"test/references.py", binding_text("operator_references.py")});
  add("README.md", "torch_readme.md.in");
  return files;
}

}  // namespace kernelites
