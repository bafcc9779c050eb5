// SPDX-License-Identifier: Apache-2.0
// Tables of words, and the header of an annotated kernel.
#include "tools/exporting/source_text_parts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "engine/core/error.h"
#include "engine/core/plain_line.h"

namespace kernelites {
namespace {

std::string argument_words(const Argument& argument, const Task& task) {
  switch (argument.kind) {
    case ArgumentKind::tensor:
      return task.tensors.at(static_cast<std::size_t>(argument.index)).name;
    case ArgumentKind::workspace:
      return fmt::format("workspace {}", argument.index);
    case ArgumentKind::tensor_map:
      return fmt::format("tensor map {}", argument.index);
    case ArgumentKind::i32:
    case ArgumentKind::i64:
      return std::to_string(argument.integer);
    default:
      return fmt::format("{:.9g}f", argument.real);
  }
}

std::string launch_words(const PlannedLaunch& launch, const Task& task) {
  std::vector<std::string> arguments;
  for (const Argument& argument : launch.arguments) arguments.push_back(argument_words(argument, task));
  std::string flags;
  if (launch.cluster != std::array<std::uint32_t, 3>{1, 1, 1})
    flags += fmt::format(", cluster ({})", fmt::join(launch.cluster, ", "));
  if (launch.is_cooperative) flags += ", cooperative";
  if (launch.is_programmatic) flags += ", programmatic (starts while the one before drains)";
  return fmt::format(
      "//     {}<<<grid ({}), block ({}), {} bytes of dynamic shared memory{}>>>\n//       ({})\n",
      one_line(launch.kernel), fmt::join(launch.grid, ", "), fmt::join(launch.block, ", "),
      launch.shared_bytes, flags, fmt::join(arguments, ", "));
}

const char* workspace_words(WorkspaceKind kind) {
  switch (kind) {
    case WorkspaceKind::zeroed:
      return "zero before every run";
    case WorkspaceKind::self_clearing:
      return "zero before the first run; every run leaves it so";
    case WorkspaceKind::prepared:
      return "written by a preparing launch";
    default:
      return "any contents";
  }
}

std::string plans_words(const PortfolioArm& arm, const Task& task) {
  std::string text;
  for (const Workload& workload : task.bench) {
    const auto plan = arm.examination.plans.find(workload.name);
    if (plan == arm.examination.plans.end()) continue;
    std::string shape;
    for (const std::string& dim : variable_dims(task))
      shape += fmt::format("{}{} = {}", shape.empty() ? "" : ", ", dim, workload.dims.at(dim));
    const auto time = arm.times.find(workload.name);
    text += fmt::format("//   {} ({})", one_line(workload.name), shape);
    if (time != arm.times.end())
      text += fmt::format(": {:.2f} us {} (n = {}), {:.3f}x the baseline", time->second.timing.time_us_median,
                          time->second.timing.is_modelled ? "modelled" : "measured",
                          time->second.timing.samples, time->second.speedup);
    text += "\n";
    for (std::size_t i = 0; i < plan->second.workspaces.size(); ++i)
      text += fmt::format("//     workspace {}: {} bytes, {}\n", i, plan->second.workspaces[i].bytes,
                          workspace_words(plan->second.workspaces[i].kind));
    for (const PlannedLaunch& launch : plan->second.launches) text += launch_words(launch, task);
  }
  return text;
}

/// Its first bytes, without half a character at the end.
std::string shortened(const std::string& text, std::size_t size) {
  if (text.size() <= size) return text;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return text.substr(0, size);
}

std::string lineage_words(const PortfolioArm& arm) {
  std::string text;
  for (const LineageStep& step : arm.lineage)
    text += fmt::format("//   #{} {} by {}{}: {}\n", step.ordinal, step.candidate_id.substr(0, 12),
                        one_line(step.operator_name), step.endpoint.empty() ? "" : " (a language model)",
                        one_line(shortened(step.summary, 140)));
  return text;
}

}  // namespace

std::string one_line(const std::string& text) {
  std::string line = plain_line(text, ' ');
  while (!line.empty() && (line.back() == '\\' || line.back() == ' ')) line.pop_back();
  return line;
}

std::string c_literal(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      quoted += fmt::format("\\{}", c);
    else if (code < 32 || code > 126 || c == '?')
      quoted += fmt::format("\\{:03o}", code);
    else
      quoted += c;
  }
  return quoted + "\"";
}

std::string upper_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

bool is_written(const TensorSpec& tensor) {
  return tensor.role == Role::output || tensor.role == Role::inout;
}

std::string integer_formula(const std::string& formula, bool is_python) {
  std::string text;
  for (std::size_t i = 0; i < formula.size(); ++i) {
    const char c = formula[i];
    const bool is_word = std::isalnum(static_cast<unsigned char>(c)) || c == '_';
    if (!is_word && std::string_view("+-*/(), ").find(c) == std::string_view::npos)
      throw Error(fmt::format("the formula {} is no whole-number arithmetic", formula));
    text += c == '/' && is_python ? "//" : std::string(1, c);
  }
  for (const char* function : {"sqrt", "exp", "log"})
    if (text.find(std::string(function) + "(") != std::string::npos)
      throw Error(fmt::format("the formula {} is no whole-number arithmetic", formula));
  return text;
}

std::string word_list(const std::vector<std::uint64_t>& words) {
  std::string text;
  text.reserve(words.size() * 20);
  for (std::size_t i = 0; i < words.size(); ++i)
    text += fmt::format("{}{:#x}u,", i % 8 == 0 ? "\n    " : " ", words[i]);
  return text + "\n";
}

std::string word_list(const std::string& bytes) {
  std::vector<std::uint64_t> words((bytes.size() + 7) / 8);
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return word_list(words);
}

std::string image_tables(const std::vector<LibraryImage>& images, const std::string& label) {
  std::string text, rows;
  for (std::size_t i = 0; i < images.size(); ++i) {
    text += fmt::format("alignas(64) static const unsigned long long k_image_{}_{}[] = {{{}}};\n", label, i,
                        word_list(images[i].cubin));
    rows += fmt::format("    {{{}, k_image_{}_{}}},\n", c_literal(images[i].architecture), label, i);
  }
  text += fmt::format("extern const ImageDescription k_images_{}[] = {{\n{}}};\n", label, rows);
  rows.clear();
  for (const auto& [planned, symbol] : images.front().lowered)
    rows += fmt::format("    {{{}, {}}},\n", c_literal(planned), c_literal(symbol));
  // Symbols do not depend on the architecture; what does is an export's bug.
  for (const LibraryImage& image : images)
    if (image.lowered != images.front().lowered)
      throw Error("kernels have other names on other architectures");
  if (rows.empty()) rows = "    {\"\", \"\"},\n";
  return text + fmt::format("extern const KernelDescription k_kernels_{}[] = {{\n{}}};\n\n", label, rows);
}

std::string plan_table(const std::vector<Shape>& shapes, const std::vector<std::vector<std::uint64_t>>& words,
                       const std::string& label) {
  if (shapes.size() != words.size()) throw Error("the compiler gave another number of plans than shapes");
  std::string text, rows;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    text += fmt::format(
        "static const long long k_shape_{0}_{1}[] = {{{2}}};\nstatic const unsigned long long "
        "k_plan_{0}_{1}[] = {{{3}}};\n",
        label, i, fmt::join(shapes[i], ", "), word_list(words[i]));
    rows += fmt::format("    {{k_shape_{0}_{1}, k_plan_{0}_{1}, {2}}},\n", label, i, words[i].size());
  }
  if (rows.empty()) throw Error("a table of plans needs a shape");
  return text + fmt::format("extern const TableDescription k_table_{}[] = {{\n{}}};\n\n", label, rows);
}

std::string annotated_kernel(const ExportInputs& inputs, std::size_t index) {
  const PortfolioArm& arm = inputs.portfolio.arms[index];
  const Task& task = inputs.task;
  std::string tuning;
  for (const auto& [name, value] : arm.candidate.tuning) tuning += fmt::format(" -D{}={}", name, value);
  std::string text = fmt::format(
      "// {} for {}, found and proved by a search (candidate {}).\n//\n"
      "// Computes: {}\n// Device: {}. Verdict: {} by harness version {}, {} checks of outputs.\n// "
      "Lineage:\n{}//\n"
      "// Compile: NVRTC with --std=c++20 -default-device -arch={} -Invrtc --pre-include=problem.cuh{}; the "
      "cubin beside\n"
      "// this file is what that gives (nvcc brings headers of its own, which clash with those in nvrtc/). "
      "Every kernel\n"
      "// below is launched as its plan says; what the plan says for the\n"
      "// workloads that were timed:\n{}//\n"
      "// Tensors are dense, row-major and aligned to 256 bytes. All launches go to one stream, in this "
      "order. Dynamic shared\n"
      "// memory above 48 KB must be allowed first (cuFuncSetAttribute). Below is the file as it was "
      "proved.\n\n",
      arm.label, one_line(task.name), arm.candidate_id, one_line(task.formula),
      one_line(arm.provenance.device.kind), arm.examination.verdict.reason,
      one_line(arm.provenance.harness_version), arm.examination.checks.size(), lineage_words(arm),
      inputs.code.arms[index].images.front().architecture, tuning, plans_words(arm, task));
  return text + arm.candidate.source;
}

}  // namespace kernelites
