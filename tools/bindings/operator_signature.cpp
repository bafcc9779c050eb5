// SPDX-License-Identifier: Apache-2.0
// Arguments, extents and names.
#include "tools/bindings/operator_signature.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "engine/core/error.h"
#include "engine/core/identifier.h"

namespace kernelites {
namespace {

constexpr std::array<std::string_view, 36> k_python_words{
    "False", "None",     "True",  "and",    "as",   "assert", "async",  "await",    "break",
    "class", "continue", "def",   "del",    "elif", "else",   "except", "finally",  "for",
    "from",  "global",   "if",    "import", "in",   "is",     "lambda", "nonlocal", "not",
    "or",    "pass",     "raise", "return", "try",  "while",  "with",   "yield",    "torch"};

void check_name(const Task& task, const std::string& name) {
  const bool is_taken = std::find(k_python_words.begin(), k_python_words.end(), name) != k_python_words.end();
  if (!is_identifier(name) || is_taken)
    throw ConfigError(task.name, name, "is no name for an argument in Python; rename it in the task");
}

struct TypeNames {
  Dtype dtype;
  const char* cpp;
  const char* python;
};
constexpr std::array<TypeNames, 10> k_types{{{Dtype::f16, "at::kHalf", "torch.float16"},
                                             {Dtype::bf16, "at::kBFloat16", "torch.bfloat16"},
                                             {Dtype::f32, "at::kFloat", "torch.float32"},
                                             {Dtype::f64, "at::kDouble", "torch.float64"},
                                             {Dtype::e4m3, "at::kFloat8_e4m3fn", "torch.float8_e4m3fn"},
                                             {Dtype::e5m2, "at::kFloat8_e5m2", "torch.float8_e5m2"},
                                             {Dtype::i8, "at::kChar", "torch.int8"},
                                             {Dtype::u8, "at::kByte", "torch.uint8"},
                                             {Dtype::i32, "at::kInt", "torch.int32"},
                                             {Dtype::i64, "at::kLong", "torch.int64"}}};

const TypeNames& names_of(Dtype dtype) {
  return *std::find_if(k_types.begin(), k_types.end(),
                       [&](const TypeNames& row) { return row.dtype == dtype; });
}

}  // namespace

OperatorSignature signature_of(const Task& task) {
  OperatorSignature signature;
  for (const TensorSpec& tensor : task.tensors) {
    check_name(task, tensor.name);
    (tensor.role == Role::output ? signature.results : signature.arguments).push_back(&tensor);
  }
  for (const ScalarSpec& scalar : task.scalars) check_name(task, scalar.name);
  for (const DimSpec& dim : task.dims) {
    if (dim.constant) continue;
    check_name(task, dim.name);
    SignatureDim found{.name = dim.name, .tensor = {}};
    for (const TensorSpec* tensor : signature.arguments) {
      const auto axis = std::find(tensor->shape.begin(), tensor->shape.end(), dim.name);
      if (found.tensor || axis == tensor->shape.end()) continue;
      found.tensor = tensor->name;
      found.axis = static_cast<std::size_t>(axis - tensor->shape.begin());
    }
    signature.dims.push_back(found);
  }
  if (signature.arguments.empty())
    throw ConfigError(task.name, "tensors", "has no input: an operator needs one");
  return signature;
}

namespace {

/// Arguments of the schema; with `has_results` the results are keywords among
/// them.
std::string schema_arguments(const Task& task, const OperatorSignature& signature, bool has_results) {
  std::vector<std::string> arguments, keywords;
  char alias = 'a';
  const auto written = [&](const TensorSpec* tensor) {
    return fmt::format("Tensor({}!) {}", alias++, tensor->name);
  };
  for (const TensorSpec* tensor : signature.arguments)
    arguments.push_back(tensor->role == Role::inout ? written(tensor) : "Tensor " + tensor->name);
  for (const SignatureDim& dim : signature.dims)
    if (!dim.tensor) keywords.push_back("SymInt " + dim.name);
  for (const ScalarSpec& scalar : task.scalars) keywords.push_back("float " + scalar.name);
  if (has_results)
    for (const TensorSpec* tensor : signature.results) keywords.push_back(written(tensor));
  if (!keywords.empty()) arguments.push_back(fmt::format("*, {}", fmt::join(keywords, ", ")));
  return fmt::format("{}", fmt::join(arguments, ", "));
}

}  // namespace

std::string torch_schema(const Task& task) {
  const OperatorSignature signature = signature_of(task);
  const std::vector<std::string> results(signature.results.size(), "Tensor");
  const std::string result =
      results.size() == 1 ? results.front() : fmt::format("({})", fmt::join(results, ", "));
  return fmt::format("{}({}) -> {}", task.name, schema_arguments(task, signature, false), result);
}

std::string torch_into_schema(const Task& task) {
  return fmt::format("{}.into({}) -> ()", task.name, schema_arguments(task, signature_of(task), true));
}

std::string torch_scalar_type(Dtype dtype) { return names_of(dtype).cpp; }
std::string torch_python_type(Dtype dtype) { return names_of(dtype).python; }

}  // namespace kernelites
