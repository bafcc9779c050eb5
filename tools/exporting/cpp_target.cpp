// SPDX-License-Identifier: Apache-2.0
// The target "cpp": sources, CMake package, pkg-config file, README, example, test and bench.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "tools/exporting/export_target.h"
#include "tools/exporting/host_plan.h"
#include "tools/exporting/library_test_source.h"
#include "tools/exporting/library_texts.h"
#include "tools/exporting/source_text_parts.h"

namespace kernelites {
namespace {

std::string sources_of(const std::vector<ExportFile>& files) {
  std::string text;
  for (const ExportFile& file : files)
    if (file.path.starts_with("src/") && file.path.ends_with(".cpp"))
      text += fmt::format("  {}\n", file.path);
  if (!text.empty()) text.pop_back();
  return text;
}

std::string plan_sources(const ExportInputs& inputs) {
  if (!inputs.has_host_plans) return "";
  std::string text =
      "# Plans as host code. As the constant evaluator computes: no contraction of products and sums,\n"
      "# and an index beyond an array ends the program.\n";
  for (const PortfolioArm& arm : inputs.portfolio.arms)
    text += fmt::format("set_source_files_properties(src/plan_{}.cpp PROPERTIES COMPILE_FLAGS \"{}\")\n",
                        arm.label, k_plan_flags);
  return text;
}

std::string dispatch_words(const ExportInputs& inputs) {
  const Portfolio& portfolio = inputs.portfolio;
  std::vector<std::string> labels;
  for (const PortfolioArm& arm : portfolio.arms) labels.push_back(arm.label);
  std::string text;
  for (const DispatchRule& rule : portfolio.dispatch.rules)
    text += fmt::format("- {}\n", rule_words(rule, labels));
  text += fmt::format("- everywhere else -> {}\n",
                      labels[static_cast<std::size_t>(portfolio.dispatch.default_arm)]);
  return text;
}

std::string times_table(const ExportInputs& inputs) {
  const Portfolio& portfolio = inputs.portfolio;
  std::string text = "| workload | shape |";
  for (const PortfolioArm& arm : portfolio.arms) text += fmt::format(" {} us |", arm.label);
  text += " dispatcher takes |\n| --- | --- |";
  for (std::size_t i = 0; i < portfolio.arms.size(); ++i) text += " --- |";
  text += " --- |\n";
  for (const ShapeTimes& shape : portfolio.shapes) {
    std::string words;
    for (const std::string& dim : variable_dims(inputs.task))
      words += fmt::format("{}{} {}", words.empty() ? "" : ", ", dim, shape.dims.at(dim));
    text += fmt::format("| {} | {} |", one_line(shape.workload), words);
    for (const double time_us : shape.time_us)
      text += time_us > 0 ? fmt::format(" {:.2f} |", time_us) : " - |";
    const int arm = arm_at(portfolio.dispatch, shape.dims);
    text +=
        fmt::format(" {} |\n", arm == k_fallback_arm ? "your fallback"
                                                     : portfolio.arms[static_cast<std::size_t>(arm)].label);
  }
  return text;
}

/// How a host program holds elements of a tensor.
const char* host_type(Dtype dtype) {
  switch (dtype) {
    case Dtype::f32:
      return "float";
    case Dtype::f64:
      return "double";
    case Dtype::i32:
      return "int";
    case Dtype::i64:
      return "long long";
    default:
      return dtype_bytes(dtype) == 2 ? "unsigned short" : "unsigned char";
  }
}

/// A line that sets a metadata tensor to what the first draw of a workload has, if that is short to say.
std::string metadata_line(const ExportInputs& inputs, const TensorSpec& tensor, const Workload& workload) {
  constexpr std::size_t k_listed_max = 8;
  const auto draws = inputs.code.metadata.find(workload.name);
  if (draws == inputs.code.metadata.end() || draws->second.empty()) return "";
  const auto found = draws->second.front().find(tensor.name);
  if (found == draws->second.front().end() || found->second.empty()) return "";
  const std::vector<std::int32_t>& values = found->second;
  const bool is_constant =
      std::all_of(values.begin(), values.end(), [&](std::int32_t value) { return value == values.front(); });
  if (!is_constant && values.size() > k_listed_max) return "";
  const std::string list = is_constant && values.size() > 1
                               ? fmt::format("({}, {})", values.size(), values.front())
                               : fmt::format("{{{}}}", fmt::join(values, ", "));
  return fmt::format("  memory.{}.set(std::vector<{}>{});\n", tensor.name, host_type(tensor.dtype), list);
}

/// A program for the first bench workload.
std::string example_source(const ExportInputs& inputs) {
  const Task& task = inputs.task;
  const Workload& workload = task.bench.front();
  std::vector<std::string> values, names;
  for (const std::string& dim : variable_dims(task)) {
    values.push_back(std::to_string(workload.dims.at(dim)));
    names.push_back(dim);
  }
  for (const ScalarSpec& scalar : task.scalars) {
    const auto found = inputs.scalars.find(scalar.name);
    values.push_back(fmt::format("{}", found == inputs.scalars.end() ? scalar.value : found->second));
    names.push_back(scalar.name);
  }
  std::string metadata;
  for (const TensorSpec& tensor : task.tensors)
    if (tensor.role == Role::metadata) metadata += metadata_line(inputs, tensor, workload);
  const TensorSpec& output = *std::find_if(task.tensors.begin(), task.tensors.end(), is_written);
  return filled(export_text("example.cpp.in"), {{"name", task.name},
                                                {"values", fmt::format("{{{}}}", fmt::join(values, ", "))},
                                                {"names", fmt::format("{}", fmt::join(names, ", "))},
                                                {"inputs", metadata},
                                                {"output", output.name},
                                                {"output_type", host_type(output.dtype)},
                                                {"output_dtype", dtype_name(output.dtype)}});
}

std::string tensor_names(const Task& task) {
  std::vector<std::string> names;
  for (const TensorSpec& tensor : task.tensors) names.push_back(tensor.name);
  return fmt::format("{{{}}}", fmt::join(names, ", "));
}

std::string proved_words(const DeviceFacts& device) {
  return device.is_virtual ? "checked on a virtual GPU (no device has run them yet)"
                           : "proved on " + one_line(device.kind);
}

std::string readme(const ExportInputs& inputs, const std::string& example) {
  const Json& plans = inputs.facts.at("plans");
  std::string limits;
  const Json domain = inputs.domain;
  for (const auto& [dim, range] : domain.at("ranges").items())
    limits += fmt::format("{}{} from {} to {}", limits.empty() ? "" : ", ", dim, range.at(0).dump(),
                          range.at(1).dump());
  for (const Json& multiple : domain.at("multiples"))
    limits += fmt::format(
        ", {} a multiple of {}", multiple.at("dim").get<std::string>(),
        multiple.at("of").is_string() ? multiple.at("of").get<std::string>() : multiple.at("of").dump());
  std::string taken;
  for (const std::string& line : coverage_words(inputs.coverage))
    taken += fmt::format("  - {}\n", one_line(line));
  return filled(
      export_text("library_readme.md.in"),
      {{"name", inputs.task.name},
       {"NAME", upper_case(inputs.task.name)},
       {"title", one_line(inputs.task.title)},
       {"formula", one_line(inputs.task.formula)},
       {"domain", limits},
       {"taken", taken},
       {"dispatch", dispatch_words(inputs)},
       {"times", times_table(inputs)},
       {"plans", plans.at("words").get<std::string>()},
       {"made_from", inputs.portfolio.is_modelled    ? "modelled, not measured: the bench below measures"
                     : inputs.portfolio.is_confirmed ? "measured with this library's own dispatcher"
                                                     : "measured by the run's duels"},
       {"proved_on", proved_words(inputs.portfolio.arms.front().provenance.device)},
       {"input", inputs.task.tensors.front().name},
       {"tensor_names", tensor_names(inputs.task)},
       {"example", example}});
}

}  // namespace

std::vector<ExportFile> cpp_files(const ExportInputs& inputs) {
  const std::string& name = inputs.task.name;
  std::vector<ExportFile> files = library_files(inputs);
  const std::string example = example_source(inputs);
  std::map<std::string, std::string> values{
      {"name", name},   {"NAME", upper_case(name)},     {"title", one_line(inputs.task.title)},
      {"version", "1"}, {"sources", sources_of(files)}, {"plan_sources", plan_sources(inputs)}};
  files.push_back({"CMakeLists.txt", filled(export_text("library_cmake.txt.in"), values)});
  files.push_back(
      {fmt::format("cmake/{}Config.cmake.in", name), filled(export_text("library_config.cmake.in"), values)});
  files.push_back({fmt::format("{}.pc.in", name), filled(export_text("library.pc.in"), values)});
  files.push_back(
      {"example/example.cpp",
       fmt::format("// SPDX-License-Identifier: Apache-2.0\n// The program of README.md.\n{}", example)});
  files.push_back({"README.md", readme(inputs, example)});
  for (ExportFile& file : library_test_files(inputs)) files.push_back(std::move(file));
  return files;
}

}  // namespace kernelites
