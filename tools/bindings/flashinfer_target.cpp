// SPDX-License-Identifier: Apache-2.0
// The objects of FlashInfer-Bench's schema.
#include "tools/bindings/flashinfer_target.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <ctime>

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "engine/core/identifier.h"
#include "tools/bindings/binding_texts.h"
#include "tools/bindings/operator_signature.h"
#include "tools/bindings/torch_target.h"
#include "tools/exporting/host_plan.h"

namespace kernelites {
namespace {

/// "cdiv(S, PS)" as the name of an axis: "cdiv_S_PS"; "4" is "n4".
std::string axis_name(const std::string& formula) {
  std::string name;
  for (const char c : formula) {
    const bool is_word = std::isalnum(static_cast<unsigned char>(c)) || c == '_';
    if (is_word) name += c;
    if (c == '+') name += "plus";
    if (c == '*') name += "times";
    if (!is_word && !name.empty() && name.back() != '_' && c != ' ' && c != ')' && c != '+' && c != '*')
      name += '_';
  }
  return std::isdigit(static_cast<unsigned char>(name.front())) ? "n" + name : name;
}

bool is_number(const std::string& formula) {
  return std::all_of(formula.begin(), formula.end(), [](unsigned char c) { return std::isdigit(c); });
}

const char* dtype_word(Dtype dtype) {
  switch (dtype) {
    case Dtype::f16:
      return "float16";
    case Dtype::bf16:
      return "bfloat16";
    case Dtype::f32:
      return "float32";
    case Dtype::e4m3:
      return "float8_e4m3fn";
    case Dtype::e5m2:
      return "float8_e5m2";
    case Dtype::i8:
      return "int8";
    case Dtype::i32:
      return "int32";
    case Dtype::i64:
      return "int64";
    default:
      return nullptr;  // float64 and uint8 are no types of the schema
  }
}

Json tensor_json(const Task& task, const TensorSpec& tensor) {
  const char* const dtype = dtype_word(tensor.dtype);
  if (dtype == nullptr)
    throw ConfigError("--as", "flashinfer-bench",
                      fmt::format("has no type for the tensor {} of {}", tensor.name, task.name));
  Json shape = Json::array();
  for (const std::string& axis : tensor.shape) shape.push_back(axis_name(axis));
  Json json{{"shape", shape}, {"dtype", dtype}};
  if (!tensor.meaning.empty()) json["description"] = tensor.meaning;
  return json;
}

std::map<std::string, std::int64_t> constants_of(const Task& task) {
  std::map<std::string, std::int64_t> constants;
  for (const DimSpec& dim : task.dims)
    if (dim.constant) constants[dim.name] = *dim.constant;
  return constants;
}

/// Axes of all tensors by name: a formula, and its value where it is constant.
/// Outputs may use those of inputs alone.
Json axes_json(const Task& task, const OperatorSignature& signature) {
  const auto constants = constants_of(task);
  Json axes = Json::object();
  const auto add = [&](const TensorSpec& tensor, bool is_input) {
    for (const std::string& formula : tensor.shape) {
      const std::string name = axis_name(formula);
      if (axes.contains(name)) continue;
      if (const auto constant = constants.find(formula); constant != constants.end()) {
        axes[name] = {{"type", "const"}, {"value", constant->second}};
      } else if (is_number(formula)) {
        axes[name] = {{"type", "const"}, {"value", std::stoll(formula)}};
      } else if (is_input) {
        axes[name] = {{"type", "var"}};
      } else {
        throw ConfigError("--as", "flashinfer-bench",
                          fmt::format("needs every extent from an input; {} of "
                                      "the output {} of {} is none",
                                      formula, tensor.name, task.name));
      }
    }
  };
  for (const TensorSpec* tensor : signature.arguments) add(*tensor, true);
  for (const TensorSpec* tensor : signature.results) add(*tensor, false);
  return axes;
}

std::vector<std::string> names_of(const Task& task, const OperatorSignature& signature, bool has_results) {
  std::vector<std::string> names;
  for (const TensorSpec* tensor : signature.arguments) names.push_back(tensor->name);
  for (const SignatureDim& dim : signature.dims)
    if (!dim.tensor) names.push_back(dim.name);
  for (const ScalarSpec& scalar : task.scalars) names.push_back(scalar.name);
  if (has_results)
    for (const TensorSpec* tensor : signature.results) names.push_back(tensor->name);
  return names;
}

/// Python that computes the operator, where the program has any.
std::string reference_of(const Task& task, const OperatorSignature& signature) {
  const std::string references = binding_text("operator_references.py");
  const std::string arguments = fmt::format("{}", fmt::join(names_of(task, signature, false), ", "));
  if (references.find(fmt::format("\"{}\":", task.name)) == std::string::npos)
    return fmt::format(
        "def run({}):\n    raise NotImplementedError(\"the "
        "reference of {} is reference.cu of its task\")\n",
        arguments, task.name);
  std::vector<std::string> tensors, scalars, results;
  for (const TensorSpec* tensor : signature.arguments)
    tensors.push_back(fmt::format("\"{0}\": {0}", tensor->name));
  for (const ScalarSpec& scalar : task.scalars) scalars.push_back(fmt::format("\"{0}\": {0}", scalar.name));
  for (const TensorSpec* tensor : signature.results)
    results.push_back(fmt::format("results[\"{}\"].to({})", tensor->name, torch_python_type(tensor->dtype)));
  return references + fmt::format(
                          "\n\ndef run({}):\n    results = REFERENCES[\"{}\"]({{{}}}, {{}}, "
                          "{{{}}})\n    return {}\n",
                          arguments, task.name, fmt::join(tensors, ", "), fmt::join(scalars, ", "),
                          fmt::join(results, ", "));
}

// --- workloads ---

std::string definition_name(const Task& task) { return "kernelites_" + task.name; }
std::string solution_name(const ExportInputs& inputs) {
  std::vector<std::string> ids;
  for (const PortfolioArm& arm : inputs.portfolio.arms) ids.push_back(arm.candidate_id);
  return fmt::format("{}_{}", definition_name(inputs.task),
                     digest(fmt::format("{}", fmt::join(ids, " "))).substr(0, 8));
}
std::string blob_path(const Task& task, const Workload& workload) {
  return fmt::format("blob/workloads/{}/{}.safetensors", definition_name(task), workload.name);
}

/// Contents of a metadata tensor: full lengths, even offsets, pages in order.
/// Empty: of another kind.
std::vector<std::int32_t> metadata_of(const TensorSpec& tensor, const Workload& workload) {
  const auto count = element_count(tensor, workload);
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  const Fill& fill = tensor.fill.front();
  const auto bound = fill.of.empty() ? 0 : workload.dims.at(fill.of);
  for (std::int64_t i = 0; i < count; ++i) {
    auto& value = values[static_cast<std::size_t>(i)];
    if (fill.kind.starts_with("lengths"))
      value = static_cast<std::int32_t>(bound);
    else if (fill.kind.starts_with("offsets"))
      value = static_cast<std::int32_t>(bound * i / std::max<std::int64_t>(count - 1, 1));
    else if (fill.kind == "page_table")
      value = static_cast<std::int32_t>(i + 1);
    else
      return {};
  }
  return values;
}

std::vector<SafeTensor> metadata_tensors(const Task& task, const Workload& workload) {
  std::vector<SafeTensor> tensors;
  for (const TensorSpec& tensor : task.tensors) {
    if (tensor.role != Role::metadata || tensor.fill.empty()) continue;
    std::vector<std::int32_t> values = metadata_of(tensor, workload);
    if (!values.empty()) tensors.push_back({tensor.name, tensor_shape(tensor, workload), std::move(values)});
  }
  return tensors;
}

Json workload_json(const Task& task, const Workload& workload) {
  const OperatorSignature signature = signature_of(task);
  const auto axes_of_task = axes_json(task, signature);
  Json axes = Json::object(), inputs = Json::object();
  for (const TensorSpec* tensor : signature.arguments)
    for (const std::string& formula : tensor->shape)
      if (axes_of_task.at(axis_name(formula)).at("type") == "var")
        axes[axis_name(formula)] = whole_number(formula, workload);
  for (const TensorSpec* tensor : signature.arguments) inputs[tensor->name] = {{"type", "random"}};
  for (const SafeTensor& tensor : metadata_tensors(task, workload))
    inputs[tensor.name] = {
        {"type", "safetensors"}, {"path", blob_path(task, workload)}, {"tensor_key", tensor.name}};
  for (const SignatureDim& dim : signature.dims)
    if (!dim.tensor) inputs[dim.name] = {{"type", "scalar"}, {"value", workload.dims.at(dim.name)}};
  for (const ScalarSpec& scalar : task.scalars)
    inputs[scalar.name] = {{"type", "scalar"}, {"value", scalar.value}};
  return {
      {"axes", axes}, {"inputs", inputs}, {"uuid", digest_parts({task.digest, workload.name}).substr(0, 32)}};
}

// --- traces ---

std::string iso_time(const std::string& unix_s) {
  const auto seconds = static_cast<std::time_t>(std::strtod(unix_s.c_str(), nullptr));
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(seconds));
}

/// The worst row of all outputs: rms of its error over rms of what it should
/// be. Our gates work by rows.
double worst_row(const Examination& examination) {
  double worst = 0;
  for (const CheckSummary& check : examination.checks) worst = std::max(worst, check.worst_row);
  return worst;
}

Json evaluation_json(const Portfolio& portfolio, const PortfolioArm& arm, const ArmTime& time) {
  const double latency_ms = time.timing.time_us_median / 1000;
  Json correctness{
      {"max_relative_error", worst_row(arm.examination)},
      {"max_absolute_error", "NaN"},
      {"extra", {{"max_relative_error_is", "rms of the error of the worst row over rms of the row"}}}};
  return {{"status", "PASSED"},
          {"environment",
           {{"hardware", arm.provenance.device.kind},
            {"libs",
             {{"toolkit", arm.provenance.toolkit}, {"kernelites_harness", arm.provenance.harness_version}}}}},
          {"timestamp", iso_time(portfolio.run_started)},
          {"log", fmt::format("{} by the harness of Kernelites, not by "
                              "FlashInfer-Bench: median of {} samples with cold "
                              "caches, {:.2f} to {:.2f} us between the 10th and "
                              "the 90th percentile. The reference of the "
                              "latency is the run's fastest seed, candidate {}.",
                              time.timing.is_modelled ? "Modelled (virtual GPU), not measured," : "Measured",
                              time.timing.samples, time.timing.time_us_p10, time.timing.time_us_p90,
                              portfolio.baseline_ordinal)},
          {"correctness", correctness},
          {"performance",
           {{"latency_ms", latency_ms},
            {"reference_latency_ms", latency_ms * time.speedup},
            {"speedup_factor", time.speedup}}}};
}

std::string lines_of(const std::vector<Json>& objects) {
  std::string text;
  for (const Json& object : objects) text += object.dump() + "\n";
  return text;
}

std::map<std::string, std::string> main_values(const ExportInputs& inputs, const std::string& space) {
  const Task& task = inputs.task;
  const OperatorSignature signature = signature_of(task);
  std::vector<std::string> passed;
  for (const TensorSpec* tensor : signature.arguments) passed.push_back(tensor->name);
  for (const std::string& name : names_of(task, signature, true))
    if (std::find(passed.begin(), passed.end(), name) == passed.end())
      passed.push_back(fmt::format("{0}={0}", name));
  return {{"title", plain_line(task.title)},
          {"name", task.name},
          {"space", space},
          {"flags", python_list(k_plan_flags)},
          {"arguments", fmt::format("{}", fmt::join(names_of(task, signature, true), ", "))},
          {"passed", fmt::format("{}", fmt::join(passed, ", "))}};
}

}  // namespace

Json flashinfer_definition(const Task& task) {
  const OperatorSignature signature = signature_of(task);
  Json inputs = Json::object(), outputs = Json::object();
  for (const TensorSpec* tensor : signature.arguments) inputs[tensor->name] = tensor_json(task, *tensor);
  for (const SignatureDim& dim : signature.dims)
    if (!dim.tensor) inputs[dim.name] = {{"shape", nullptr}, {"dtype", "int64"}};
  for (const ScalarSpec& scalar : task.scalars)
    inputs[scalar.name] = {{"shape", nullptr}, {"dtype", "float32"}, {"description", scalar.meaning}};
  for (const TensorSpec* tensor : signature.results) outputs[tensor->name] = tensor_json(task, *tensor);
  return {{"name", definition_name(task)},
          {"op_type", task.family},
          {"axes", axes_json(task, signature)},
          {"inputs", inputs},
          {"outputs", outputs},
          {"reference", reference_of(task, signature)},
          {"tags", {"kernelites"}},
          {"description", fmt::format("{}: {}", task.title, task.formula)}};
}

Json flashinfer_solution(const ExportInputs& inputs) {
  const std::string name = solution_name(inputs);
  // Two solutions of one task in one process must not meet.
  const std::string space = "kernelites_" + digest(name).substr(0, 8);
  Json sources = Json::array();
  sources.push_back({{"path", "main.py"},
                     {"content", filled(binding_text("flashinfer_main.py.in"), main_values(inputs, space))}});
  for (const ExportFile& file : library_files(inputs)) {
    const bool is_source = file.path.ends_with(".cpp") || file.path.ends_with(".h") ||
                           file.path.ends_with(".hpp") || file.path.ends_with(".cuh");
    if (is_source && !file.bytes.empty())
      sources.push_back({{"path", "csrc/" + file.path}, {"content", file.bytes}});
  }
  sources.push_back({{"path", "csrc/torch_binding.cpp"}, {"content", torch_binding(inputs.task, space)}});
  return {{"name", name},
          {"definition", definition_name(inputs.task)},
          {"author", "kernelites"},
          {"spec",
           {{"language", "python"},
            {"target_hardware", {inputs.portfolio.arms.front().provenance.device.kind}},
            {"entry_point", "main.py::run"},
            {"dependencies", {"torch"}},
            {"destination_passing_style", true}}},
          {"sources", sources},
          {"description", fmt::format("{} kernels with a dispatch by shape, precompiled; "
                                      "found by a search and proven by its harness. Shapes that it takes: {}",
                                      inputs.portfolio.arms.size(), domain_lines(inputs))}};
}

std::vector<Json> flashinfer_workloads(const Task& task) {
  std::vector<Json> lines;
  for (const Workload& workload : task.bench)
    lines.push_back({{"definition", definition_name(task)}, {"workload", workload_json(task, workload)}});
  return lines;
}

std::vector<Json> flashinfer_traces(const ExportInputs& inputs) {
  std::vector<Json> lines;
  for (const Workload& workload : inputs.task.bench) {
    const ArmTime* const time = time_at(inputs.portfolio, workload);
    if (time == nullptr || time->timing.time_us_median <= 0) continue;
    const int arm = arm_at(inputs.portfolio.dispatch, workload.dims);
    lines.push_back(
        {{"definition", definition_name(inputs.task)},
         {"workload", workload_json(inputs.task, workload)},
         {"solution", solution_name(inputs)},
         {"evaluation",
          evaluation_json(inputs.portfolio, inputs.portfolio.arms[static_cast<std::size_t>(arm)], *time)}});
  }
  return lines;
}

std::string safetensors_bytes(const std::vector<SafeTensor>& tensors) {
  Json header = Json::object();
  std::string data;
  for (const SafeTensor& tensor : tensors) {
    const std::size_t begin = data.size();
    for (const std::int32_t value : tensor.values)
      for (int byte = 0; byte < 4; ++byte)
        data.push_back(static_cast<char>(static_cast<std::uint32_t>(value) >> (8 * byte)));
    header[tensor.name] = {{"dtype", "I32"}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string bytes;
  for (int byte = 0; byte < 8; ++byte) bytes.push_back(static_cast<char>(text.size() >> (8 * byte)));
  return bytes + text + data;
}

std::vector<ExportFile> flashinfer_files(const ExportInputs& inputs) {
  const Task& task = inputs.task;
  const std::string name = definition_name(task),
                    family = axis_name(task.family.empty() ? "other" : task.family);
  std::vector<ExportFile> files{
      {fmt::format("definitions/{}/{}.json", family, name), flashinfer_definition(task).dump(1) + "\n"},
      {fmt::format("solutions/{}/{}.json", family, solution_name(inputs)),
       flashinfer_solution(inputs).dump(1) + "\n"},
      {fmt::format("workloads/{}/{}.jsonl", family, name), lines_of(flashinfer_workloads(task))},
      {fmt::format("traces/{}/{}.jsonl", family, name), lines_of(flashinfer_traces(inputs))}};
  for (const Workload& workload : task.bench)
    if (const auto tensors = metadata_tensors(task, workload); !tensors.empty())
      files.push_back({blob_path(task, workload), safetensors_bytes(tensors)});
  files.push_back({"check.py", binding_text("flashinfer_check.py")});
  files.push_back({"README.md",
                   filled(binding_text("flashinfer_readme.md.in"), {{"title", plain_line(task.title)},
                                                                    {"definition", name},
                                                                    {"solution", solution_name(inputs)},
                                                                    {"plans", plan_words(inputs)},
                                                                    {"domain", domain_lines(inputs)},
                                                                    {"arms", arm_lines(inputs.portfolio)}})});
  return files;
}

}  // namespace kernelites
