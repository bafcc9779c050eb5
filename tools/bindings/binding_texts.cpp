// SPDX-License-Identifier: Apache-2.0
// Looks texts up, and puts facts into words.
#include "tools/bindings/binding_texts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "engine/core/embedded_file.h"
#include "engine/core/error.h"

namespace kernelites {

extern const std::vector<EmbeddedFile> k_binding_texts;

namespace {

constexpr std::size_t k_line_max = 400;

/// Extents that the plans refused when this was exported.
Json refused_shapes(const ExportInputs& inputs) {
  const std::vector<std::string> dims = variable_dims(inputs.task);
  Json shapes = Json::array();
  for (const TriedShape& one : inputs.coverage.refused_shapes) {
    Json shape = Json::object();
    for (std::size_t i = 0; i < dims.size(); ++i) shape[dims[i]] = one.shape[i];
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

/// A bench workload's extents, each in turn beyond the domain.
Json shapes_beyond(const ExportInputs& inputs) {
  Json shapes = Json::array();
  for (const DomainRange& range : inputs.domain.ranges) {
    Json shape = Json::object();
    for (const std::string& dim : variable_dims(inputs.task))
      shape[dim] = inputs.task.bench.front().dims.at(dim);
    shape[range.dim] = 2 * range.high;
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

}  // namespace

std::string binding_text(std::string_view name) {
  const auto found = std::find_if(k_binding_texts.begin(), k_binding_texts.end(),
                                  [&](const EmbeddedFile& file) { return file.name == name; });
  KERNELITES_ASSERT(found != k_binding_texts.end());
  return std::string(found->text);
}

std::string plain_line(std::string_view text) {
  std::string line;
  for (const char c : text.substr(0, k_line_max))
    line += c < 32 || c > 126 || c == '"' || c == '\'' || c == '\\' || c == '`' ? ' ' : c;
  return line;
}

std::string python_list(std::string_view words) {
  std::istringstream stream{std::string(words)};
  std::string list;
  for (std::string word; stream >> word;) list += fmt::format("\"{}\", ", word);
  return list;
}

const ArmTime* time_at(const Portfolio& portfolio, const Workload& workload) {
  const int arm = arm_at(portfolio.dispatch, workload.dims);
  if (arm < 0) return nullptr;
  const auto& times = portfolio.arms[static_cast<std::size_t>(arm)].times;
  const auto found = times.find(workload.name);
  return found == times.end() ? nullptr : &found->second;
}

Json cases_json(const ExportInputs& inputs) {
  const Task& task = inputs.task;
  Json cases = Json::array();
  const auto add = [&](const Workload& workload, bool is_bench) {
    Json tensors = Json::array();
    for (const TensorSpec& tensor : task.tensors) {
      Json entry{{"name", tensor.name},
                 {"dtype", dtype_name(tensor.dtype)},
                 {"role", role_name(tensor.role)},
                 {"shape", tensor_shape(tensor, workload)}};
      if (!tensor.fill.empty()) {
        entry["kind"] = tensor.fill.front().kind;
        const auto bound = workload.dims.find(tensor.fill.front().of);
        if (bound != workload.dims.end()) entry["bound"] = bound->second;
      }
      tensors.push_back(std::move(entry));
    }
    Json one{{"name", workload.name}, {"is_bench", is_bench}, {"dims", workload.dims}, {"tensors", tensors}};
    const ArmTime* const time = is_bench ? time_at(inputs.portfolio, workload) : nullptr;
    if (time != nullptr) {
      one["time_us"] = time->timing.time_us_median;
      one["is_modelled"] = time->timing.is_modelled;
    }
    cases.push_back(std::move(one));
  };
  for (const Workload& workload : task.check)
    if (is_within(inputs.domain, shape_of(task, workload.dims))) add(workload, false);
  for (const Workload& workload : task.bench) add(workload, true);
  Json scalars = Json::object();
  for (const ScalarSpec& scalar : task.scalars) scalars[scalar.name] = scalar.value;
  return {{"task", task.name},
          {"scalars", scalars},
          {"cases", cases},
          {"refused", refused_shapes(inputs)},
          {"beyond", shapes_beyond(inputs)}};
}

std::string arm_lines(const Portfolio& portfolio) {
  std::string lines;
  for (const PortfolioArm& arm : portfolio.arms)
    lines += fmt::format("- `{}`: candidate {} of its run, id `{}`, passed on {}\n", arm.label, arm.ordinal,
                         arm.candidate_id.substr(0, 12), plain_line(arm.provenance.device.kind));
  return lines;
}

std::string domain_lines(const ExportInputs& inputs) {
  const LibraryDomain& domain = inputs.domain;
  std::string lines;
  for (const DomainRange& range : domain.ranges)
    lines += fmt::format("- {} from {} to {}\n", range.dim, range.low, range.high);
  for (const DomainMultiple& multiple : domain.multiples) {
    const std::string of = multiple.of >= 0 ? domain.ranges[static_cast<std::size_t>(multiple.of)].dim
                                            : std::to_string(multiple.number);
    lines +=
        fmt::format("- {} a multiple of {}\n", domain.ranges[static_cast<std::size_t>(multiple.dim)].dim, of);
  }
  lines += "- within that, what the export found:\n";
  for (const std::string& line : coverage_words(inputs.coverage))
    lines += fmt::format("  - {}\n", plain_line(line));
  return lines;
}

std::string plan_words(const ExportInputs& inputs) {
  return inputs.has_host_plans
             ? "Building compiles `csrc/src/plan_*.cpp` for your CPU: launch plans, written anew from "
               "what a model may have written, and proven at export to say the same as the "
               "evaluated ones (`MANIFEST.json`)."
             : "Launch plans are data: no text that a model wrote is compiled for your CPU. Only the "
               "shapes of the table are taken.";
}

}  // namespace kernelites
