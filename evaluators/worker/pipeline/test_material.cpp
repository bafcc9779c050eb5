// SPDX-License-Identifier: Apache-2.0
// Compiles reference and harness, and draws metadata.
#include "evaluators/worker/pipeline/test_material.h"

#include <fmt/format.h>

#include <algorithm>

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

bool has_reference(const Task& task) {
  return python_of(task).empty() && std::none_of(task.tensors.begin(), task.tensors.end(), is_computed);
}

Json reference_json(Compiler& compiler, const TestOrder& order) {
  std::vector<PlanPoint> points = order.points;
  for (PlanPoint& point : points)
    point.reference_rows = std::min(k_reference_rows, row_count(order.task, *point.workload));
  const Candidate candidate{.source = order.task.reference_source, .tuning = {}};
  DeviceFacts device = order.device;
  device.is_virtual = false;
  Json answer{{"images", Json::object()}, {"workloads", Json::object()}};
  for (const std::string& architecture : order.architectures) {
    device.architecture = architecture;
    auto result = compile_candidate(compiler, candidate, order.task, Form::reference, points, device);
    if (const auto* verdict = std::get_if<Verdict>(&result))
      throw Error(fmt::format("the reference cannot be compiled: {}", verdict->message));
    const auto& compiled = std::get<CompiledCandidate>(result);
    answer["images"][architecture] = {{"cubin", hex_of(compiled.cubin.data(), compiled.cubin.size())},
                                      {"lowered", compiled.lowered}};
  }
  const PlanSource source{.task = order.task,
                          .form = Form::reference,
                          .candidate = candidate,
                          .typed_by = points,
                          .device = device};
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
    if (tensor.role != Role::input || metadata.contains(tensor.name)) continue;
    const TensorFill fill = tensor_fill(draw, tensor, ++seed);
    fills[tensor.name] = {{"order", hex_of(&fill.order, sizeof fill.order)}, {"unit", fill.unit}};
  }
  return fills;
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
              {"fills", Json::object()},
              {"compares", Json::object()},
              {"metadata", Json::object()}};
  if (!has_reference(order.task)) return answer;
  answer["reference"] = reference_json(compiler, order);
  const Key key = Key::fixed("export");
  for (std::size_t i = 0; i < order.points.size(); ++i) {
    const Workload& workload = *order.points[i].workload;
    Json draws = Json::array();
    std::size_t values = 0;
    answer["compares"][workload.name] = compares_json(order.task, workload);
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
