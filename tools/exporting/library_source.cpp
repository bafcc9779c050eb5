// SPDX-License-Identifier: Apache-2.0
// The sources of an exported library: interface, tables of arms and rules, machine code, plans.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "engine/core/error.h"
#include "engine/core/plain_line.h"
#include "tools/exporting/export_target.h"
#include "tools/exporting/host_plan.h"
#include "tools/exporting/library_texts.h"
#include "tools/exporting/source_text_parts.h"

namespace kernelites {
namespace {

constexpr int k_interface_version = 1;

std::string domain_words(const LibraryDomain& domain, const DomainCoverage& coverage) {
  std::string words;
  for (const DomainRange& range : domain.ranges)
    words += fmt::format(" *   {} from {} to {}\n", range.dim, range.low, range.high);
  for (const DomainMultiple& multiple : domain.multiples) {
    const std::string& dim = domain.ranges[static_cast<std::size_t>(multiple.dim)].dim;
    words += multiple.of >= 0 ? fmt::format(" *   {} a multiple of {}\n", dim,
                                            domain.ranges[static_cast<std::size_t>(multiple.of)].dim)
                              : fmt::format(" *   {} a multiple of {}\n", dim, multiple.number);
  }
  for (const DomainRelation& relation : coverage.relations)
    words += fmt::format(" *   and of these, as far as was tried: {}\n", relation.words);
  if (coverage.refused > 0)
    words += fmt::format(" *   {} of {} shapes that were tried are refused: UNSUPPORTED_SHAPE\n",
                         coverage.refused, coverage.shapes);
  words.pop_back();
  return words;
}

/// One line for a C comment, whatever the task's author wrote.
std::string comment_line(const std::string& text) {
  constexpr std::size_t k_bytes_max = 100;
  std::string line = plain_line(text, ' ', k_bytes_max);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '*' || c == '/' || c == '\\'; }, ' ');
  return line;
}

std::string problem_members(const Task& task) {
  std::string members;
  for (const DimSpec& dim : task.dims)
    if (!dim.constant)
      members += fmt::format("  int64_t {}; /* {} */\n", dim.name, comment_line(dim.meaning));
  for (const ScalarSpec& scalar : task.scalars)
    members += fmt::format("  double {}; /* {} */\n", scalar.name, comment_line(scalar.meaning));
  return members;
}

std::string tensor_members(const Task& task) {
  std::string members;
  for (const TensorSpec& tensor : task.tensors) {
    members +=
        fmt::format("  {}void* {}; /* {} [{}]: {} */\n", is_written(tensor) ? "" : "const ", tensor.name,
                    dtype_name(tensor.dtype), comment_line(fmt::format("{}", fmt::join(tensor.shape, ", "))),
                    comment_line(tensor.meaning));
  }
  return members;
}

std::string size_members(const Task& task) {
  std::string members;
  for (const TensorSpec& tensor : task.tensors) members += fmt::format("  size_t {};\n", tensor.name);
  return members;
}

/// The bytes of every tensor as whole-number arithmetic on the extents. Names of ours end in an underscore.
std::string size_formulas(const Task& task) {
  std::string text;
  for (const DimSpec& dim : task.dims)
    text += fmt::format("  [[maybe_unused]] const int64_t {} = {};\n", dim.name,
                        dim.constant ? std::to_string(*dim.constant) : "problem_." + dim.name);
  for (const TensorSpec& tensor : task.tensors) {
    text += fmt::format("  sizes_.{} = static_cast<size_t>({}", tensor.name, dtype_bytes(tensor.dtype));
    for (const std::string& extent : tensor.shape)
      text += fmt::format(" * ({})", integer_formula(extent, false));
    text += ");\n";
  }
  return text;
}

/// How the C++ wrapper's `Memory` owns the tensors.
std::map<std::string, std::string> memory_values(const Task& task) {
  std::string members, values, tensors;
  for (const TensorSpec& tensor : task.tensors) {
    members += fmt::format("  Buffer {};\n", tensor.name);
    values += fmt::format("{0}(sizes.{0}), ", tensor.name);
    tensors += fmt::format("  tensors.{0} = memory.{0}.data();\n", tensor.name);
  }
  return {{"buffer_members", members}, {"buffer_values", values}, {"tensor_values", tensors}};
}

std::string dims_table(const Task& task) {
  std::vector<std::string> names, tensors;
  for (const std::string& name : variable_dims(task)) names.push_back(fmt::format("\"{}\"", name));
  for (const TensorSpec& tensor : task.tensors) tensors.push_back(fmt::format("\"{}\"", tensor.name));
  return fmt::format("const char* const k_dims[] = {{{}}};\nconst char* const k_tensors[] = {{{}}};\n",
                     fmt::join(names, ", "), fmt::join(tensors, ", "));
}

std::string domain_tables(const LibraryDomain& domain) {
  std::string text = "const inside::RangeDescription k_domain[] = {\n";
  for (std::size_t i = 0; i < domain.ranges.size(); ++i)
    text += fmt::format("    {{{}, {}, {}}},\n", i, domain.ranges[i].low, domain.ranges[i].high);
  text += "};\n";
  if (domain.multiples.empty()) return text;
  text += "const inside::MultipleDescription k_multiples[] = {\n";
  for (const DomainMultiple& multiple : domain.multiples)
    text += fmt::format("    {{{}, {}, {}}},\n", multiple.dim, multiple.of, multiple.number);
  return text + "};\n";
}

std::string rules_table(const Portfolio& portfolio, const std::vector<std::string>& dims) {
  std::string text;
  std::vector<std::string> labels;
  for (const PortfolioArm& arm : portfolio.arms) labels.push_back(arm.label);
  for (std::size_t i = 0; i < portfolio.dispatch.rules.size(); ++i) {
    const DispatchRule& rule = portfolio.dispatch.rules[i];
    text +=
        fmt::format("// {}\nconst inside::RangeDescription k_rule_{}[] = {{\n", rule_words(rule, labels), i);
    for (const DimRange& range : rule.ranges) {
      const auto dim = std::find(dims.begin(), dims.end(), range.dim) - dims.begin();
      text += fmt::format("    {{{}, {}LL, {}LL}},\n", dim, range.low, range.high);
    }
    text += rule.ranges.empty() ? "    {0, 1, 0x7fffffffffffffffLL},\n};\n" : "};\n";
  }
  if (portfolio.dispatch.rules.empty()) return text;
  text += "const inside::RuleDescription k_rules[] = {\n";
  for (std::size_t i = 0; i < portfolio.dispatch.rules.size(); ++i) {
    const DispatchRule& rule = portfolio.dispatch.rules[i];
    text += fmt::format("    {{{}, k_rule_{}, {}}},\n", rule.arm, i,
                        std::max<std::size_t>(rule.ranges.size(), 1));
  }
  return text + "};\n";
}

std::string arms_table(const ExportInputs& inputs) {
  std::string text = "const inside::ArmDescription k_arms[] = {\n";
  for (std::size_t i = 0; i < inputs.portfolio.arms.size(); ++i) {
    const PortfolioArm& arm = inputs.portfolio.arms[i];
    const std::string plan = inputs.has_host_plans ? fmt::format("inside::plan_{}", arm.label) : "nullptr";
    const std::string table =
        inputs.has_host_plans ? "nullptr, 0"
                              : fmt::format("inside::k_table_{}, {}", arm.label, inputs.table_shapes.size());
    text += fmt::format(
        "    {{\"{0}\", {1}, inside::k_images_{0}, {2}, inside::k_kernels_{0}, {3}, {4}, {5}}},\n", arm.label,
        c_literal(arm.candidate_id), inputs.code.arms[i].images.size(),
        inputs.code.arms[i].images.front().lowered.size(), plan, table);
  }
  return text + "};\n";
}

std::string declarations(const ExportInputs& inputs) {
  std::string text;
  for (const PortfolioArm& arm : inputs.portfolio.arms) {
    text += fmt::format(
        "extern const ImageDescription k_images_{0}[];\nextern const KernelDescription k_kernels_{0}[];\n",
        arm.label);
    text += inputs.has_host_plans
                ? fmt::format(
                      "int plan_{}(const long long* dims, const double* scalars, const long long* device,\n"
                      "    unsigned long long* words);\n",
                      arm.label)
                : fmt::format("extern const TableDescription k_table_{}[];\n", arm.label);
  }
  return text;
}

std::string code_source(const ExportInputs& inputs, std::size_t arm) {
  const std::string& label = inputs.portfolio.arms[arm].label;
  const ArmCode& code = inputs.code.arms[arm];
  std::string text = fmt::format(
      "// SPDX-License-Identifier: Apache-2.0\n"
      "// Machine code of kernels/{}.cu by architecture: the cubins beside it, as data.\n"
      "#include \"library_tables.h\"\n\nnamespace KERNELITES_LIBRARY {{\n\n",
      label);
  text += image_tables(code.images, label);
  if (!inputs.has_host_plans) text += plan_table(inputs.table_shapes, code.tables, label);
  return text + "}  // namespace KERNELITES_LIBRARY\n";
}

std::map<std::string, std::string> glue_values(const ExportInputs& inputs) {
  const Task& task = inputs.task;
  const std::vector<std::string> dims = variable_dims(task);
  std::string call, memory, tables = dims_table(task) + domain_tables(inputs.domain);
  for (std::size_t i = 0; i < dims.size(); ++i)
    call += fmt::format("  call.dims[{}] = problem.{};\n", i, dims[i]);
  for (std::size_t i = 0; i < task.scalars.size(); ++i)
    call += fmt::format("  call.scalars[{}] = problem.{};\n", i, task.scalars[i].name);
  for (std::size_t i = 0; i < task.tensors.size(); ++i)
    memory += fmt::format("    memory.tensors[{}] = tensors->{};\n", i, task.tensors[i].name);
  if (!inputs.has_host_plans) {
    std::vector<std::string> scalars;
    for (const ScalarSpec& scalar : task.scalars)
      scalars.push_back(fmt::format("{:a}", inputs.scalars.at(scalar.name)));
    if (scalars.empty()) scalars.emplace_back("0");
    tables += fmt::format("const double k_table_scalars[] = {{{}}};\n", fmt::join(scalars, ", "));
  }
  tables += arms_table(inputs) + rules_table(inputs.portfolio, dims);
  return {{"name", task.name},
          {"NAME", upper_case(task.name)},
          {"tables", tables},
          {"dim_count", std::to_string(dims.size())},
          {"scalar_count", std::to_string(task.scalars.size())},
          {"tensor_count", std::to_string(task.tensors.size())},
          {"multiples", inputs.domain.multiples.empty() ? "nullptr" : "k_multiples"},
          {"multiple_count", std::to_string(inputs.domain.multiples.size())},
          {"table_scalars", inputs.has_host_plans ? "nullptr" : "k_table_scalars"},
          {"table_multiprocessors", std::to_string(inputs.portfolio.arms.front().provenance.device.sm_count)},
          {"arm_count", std::to_string(inputs.portfolio.arms.size())},
          {"rules", inputs.portfolio.dispatch.rules.empty() ? "nullptr" : "k_rules"},
          {"rule_count", std::to_string(inputs.portfolio.dispatch.rules.size())},
          {"default_arm", std::to_string(inputs.portfolio.dispatch.default_arm)},
          {"call_members", call},
          {"memory_members", memory},
          {"size_formulas", size_formulas(task)}};
}

std::map<std::string, std::string> header_values(const ExportInputs& inputs) {
  const std::size_t arms = inputs.portfolio.arms.size();
  std::map<std::string, std::string> values{
      {"name", inputs.task.name},
      {"NAME", upper_case(inputs.task.name)},
      {"title", comment_line(inputs.task.title)},
      {"formula", comment_line(inputs.task.formula)},
      {"arm_words", arms == 1 ? "one kernel" : fmt::format("{} kernels and a dispatch between them", arms)},
      {"version", std::to_string(k_interface_version)},
      {"domain_words", domain_words(inputs.domain, inputs.coverage)},
      {"problem_members", problem_members(inputs.task)},
      {"tensor_members", tensor_members(inputs.task)},
      {"size_members", size_members(inputs.task)}};
  values.merge(memory_values(inputs.task));
  return values;
}

}  // namespace

std::vector<ExportFile> library_files(const ExportInputs& inputs) {
  const std::string& name = inputs.task.name;
  std::vector<ExportFile> files;
  files.push_back(
      {fmt::format("include/{}.h", name), filled(export_text("library_header.h.in"), header_values(inputs))});
  files.push_back({fmt::format("include/{}.hpp", name),
                   filled(export_text("library_wrapper.hpp.in"), header_values(inputs))});
  for (const char* text : {"library_driver.h", "library_driver.cpp", "library_plan.h", "library_plan.cpp",
                           "library_shape.h", "library_shape.cpp", "library_status.h", "library_status.cpp",
                           "library_core.h", "library_core.cpp", "library_memory.h", "library_memory.cpp"})
    files.push_back({fmt::format("src/{}", text), export_text(text)});
  std::string own_name = export_text("library_name.h");
  own_name.replace(own_name.find("kernelites_library"), std::strlen("kernelites_library"), name + "_inside");
  files.push_back({"src/library_name.h", own_name});
  files.push_back({"src/library_tables.h", filled(export_text("library_tables.h.in"),
                                                  {{"name", name}, {"declarations", declarations(inputs)}})});
  files.push_back(
      {fmt::format("src/{}.cpp", name), filled(export_text("library_glue.cpp.in"), glue_values(inputs))});
  for (std::size_t i = 0; i < inputs.portfolio.arms.size(); ++i) {
    const PortfolioArm& arm = inputs.portfolio.arms[i];
    files.push_back({fmt::format("src/code_{}.cpp", arm.label), code_source(inputs, i)});
    files.push_back({fmt::format("kernels/{}.cu", arm.label), annotated_kernel(inputs, i)});
    for (const LibraryImage& image : inputs.code.arms[i].images)
      files.push_back({fmt::format("kernels/{}.{}.cubin", arm.label, image.architecture), image.cubin});
    if (inputs.has_host_plans)
      files.push_back({fmt::format("src/plan_{}.cpp", arm.label), inputs.host_plans[i]});
  }
  if (inputs.has_host_plans)
    for (ExportFile& file : host_plan_headers()) files.push_back(std::move(file));
  return files;
}

}  // namespace kernelites
