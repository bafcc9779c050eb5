// SPDX-License-Identifier: Apache-2.0
// Compiles reference and harness, and draws metadata.
#include "evaluators/worker/pipeline/test_material.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "engine/core/task_reference.h"
#include "evaluators/worker/nvrtc/candidate_compiler.h"
#include "evaluators/worker/pipeline/compare.h"
#include "evaluators/worker/pipeline/fill.h"
#include "evaluators/worker/pipeline/harness_launch.h"
#include "evaluators/worker/pipeline/metadata.h"
#include "evaluators/worker/pipeline/plan_batches.h"

namespace kernelites::worker {
namespace {

constexpr std::int64_t k_reference_rows = 64;
/// Draws of the metadata: full lengths first, then what the task rotates through.
constexpr std::size_t k_draws = 3;
/// Metadata of one workload that an export takes along.
constexpr std::size_t k_metadata_values_max = 1 << 18;

Json harness_images(Compiler& compiler, const TestOrder& order) {
  Json images = Json::object();
  for (const std::string& architecture : order.architectures) {
    CompileInput input{.source = harness_source(), .file_name = "harness.cu"};
    input.options = {"-arch=" + architecture, "--std=c++20", "-default-device"};
    const CompileOutput output = compiler.compile(input, k_code_deadline_s);
    if (!output.ok) throw Error(fmt::format("the kernels around a launch do not compile: {}", output.log));
    images[architecture] = {{"cubin", hex_of(output.cubin.data(), output.cubin.size())}};
  }
  return images;
}

/// The task's own source in one of its forms: code per architecture, and a plan for each workload.
Json form_json(Compiler& compiler, const TestOrder& order, Form form) {
  std::vector<PlanPoint> points = order.points;
  if (form == Form::reference)
    for (PlanPoint& point : points)
      point.reference_rows = std::min(k_reference_rows, row_count(order.task, *point.workload));
  const Candidate candidate{.source = order.task.reference_source, .tuning = {}};
  DeviceFacts device = order.device;
  device.is_virtual = false;
  Json answer{{"images", Json::object()}, {"workloads", Json::object()}};
  for (const std::string& architecture : order.architectures) {
    device.architecture = architecture;
    auto result = compile_candidate(compiler, candidate, order.task, form, points, device);
    if (const auto* verdict = std::get_if<Verdict>(&result))
      throw Error(fmt::format("the {} cannot be compiled: {}",
                              form == Form::inputs ? "program of computed inputs" : "reference",
                              verdict->message));
    const auto& compiled = std::get<CompiledCandidate>(result);
    answer["images"][architecture] = {{"cubin", hex_of(compiled.cubin.data(), compiled.cubin.size())},
                                      {"lowered", compiled.lowered}};
  }
  const PlanSource source{
      .task = order.task, .form = form, .candidate = candidate, .typed_by = points, .device = device};
  auto plans = evaluate_batches(compiler, source, points, order.jobs);
  if (const auto* failure = std::get_if<PlanFailure>(&plans)) throw Error(failure->words);
  for (std::size_t i = 0; i < points.size(); ++i)
    answer["workloads"][points[i].workload->name] = {{"rows", points[i].reference_rows},
                                                     {"words", std::get<std::vector<PlanWords>>(plans)[i]}};
  return answer;
}

/// How the first input family draws each input.
Json fills_json(const Task& task, const Workload& workload, const MetadataContents& metadata) {
  Json fills = Json::object();
  const FillDraw draw{.task = task,
                      .workload = workload,
                      .family = task.families.front(),
                      .metadata = metadata,
                      .pattern = 7};
  std::uint64_t seed = 1;
  for (const TensorSpec& tensor : task.tensors) {
    if (tensor.role != Role::input || is_computed(tensor) || metadata.contains(tensor.name)) continue;
    const TensorFill fill = tensor_fill(draw, tensor, ++seed);
    fills[tensor.name] = {{"order", hex_of(&fill.order, sizeof fill.order)}, {"unit", fill.unit}};
  }
  return fills;
}

/// What the program of computed inputs is given, draw by draw, as a session gives it: seed, variant, family, rotation.
Json computed_draws(const Task& task, const Workload& workload, const Key& key) {
  const auto computed = std::find_if(task.tensors.begin(), task.tensors.end(), is_computed);
  Json draws = Json::array();
  for (std::size_t draw = 0; draw < k_draws && computed != task.tensors.end(); ++draw) {
    const Fill& fill = computed->role == Role::input ? fill_of(task.families.front(), *computed)
                                                     : computed->fill.at(draw % computed->fill.size());
    draws.push_back({static_cast<std::int64_t>(key.derive("computed", draw).seed()),
                     std::llround(fill_number(fill, "variant", formula_names(task, workload))), 0,
                     static_cast<std::int64_t>(draw)});
  }
  return draws;
}

/// How every output is compared with the reference, by the gates of the same family.
Json compares_json(const Task& task, const Workload& workload) {
  Json compares = Json::object();
  for (const TensorSpec& tensor : task.tensors) {
    if (tensor.role != Role::output && tensor.role != Role::inout) continue;
    const Precision& gates = precision_of(task, task.families.front(), tensor.name);
    const CompareOrder order = compare_order(task, tensor, gates, workload);
    compares[tensor.name] = {{"order", hex_of(&order, sizeof order)},
                             {"columns", order.columns},
                             {"parts", order.parts},
                             {"chosen", order.chosen},
                             {"is_selection", gates.compare == Compare::selection}};
  }
  return compares;
}

}  // namespace

std::string hex_of(const void* bytes, std::size_t count) {
  std::string text;
  text.reserve(2 * count);
  for (std::size_t i = 0; i < count; ++i)
    text += fmt::format("{:02x}", static_cast<const unsigned char*>(bytes)[i]);
  return text;
}

Json test_material(Compiler& compiler, const TestOrder& order) {
  Json answer{{"harness", harness_images(compiler, order)},
              {"reference", nullptr},
              {"inputs", nullptr},
              {"draws", Json::object()},
              {"fills", Json::object()},
              {"compares", Json::object()},
              {"metadata", Json::object()}};
  if (!python_of(order.task).empty()) return answer;  // it runs where PyTorch is
  answer["reference"] = form_json(compiler, order, Form::reference);
  if (std::any_of(order.task.tensors.begin(), order.task.tensors.end(), is_computed))
    answer["inputs"] = form_json(compiler, order, Form::inputs);
  const Key key = Key::fixed("export");
  for (std::size_t i = 0; i < order.points.size(); ++i) {
    const Workload& workload = *order.points[i].workload;
    Json draws = Json::array();
    std::size_t values = 0;
    answer["compares"][workload.name] = compares_json(order.task, workload);
    answer["draws"][workload.name] = computed_draws(order.task, workload, key.derive("workload", i));
    for (std::size_t draw = 0; draw < k_draws; ++draw) {
      const MetadataContents contents =
          draw_metadata(order.task, workload, draw, key.derive("workload", i).derive("metadata", draw));
      for (const auto& [name, list] : contents) values += list.size();
      if (draw == 0) answer["fills"][workload.name] = fills_json(order.task, workload, contents);
      draws.push_back(contents);
    }
    if (values <= k_metadata_values_max) answer["metadata"][workload.name] = std::move(draws);
  }
  return answer;
}

}  // namespace kernelites::worker
