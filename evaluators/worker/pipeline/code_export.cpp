// SPDX-License-Identifier: Apache-2.0
// Compiles arms and the program of computed inputs, draws metadata, and writes it all as JSON.
#include "evaluators/worker/pipeline/code_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <mutex>
#include <thread>

#include "engine/core/error.h"
#include "engine/core/fill_kind.h"
#include "evaluators/worker/contract/screen.h"
#include "evaluators/worker/nvrtc/candidate_compiler.h"
#include "evaluators/worker/pipeline/fill.h"
#include "evaluators/worker/pipeline/metadata.h"

namespace kernelites::worker {
namespace {

constexpr int k_code_version = 1;
constexpr std::size_t k_code_requests_max = 1024;

std::string hex_of(const std::vector<std::byte>& bytes) {
  constexpr std::string_view k_digits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::byte byte : bytes) {
    const auto value = std::to_integer<unsigned>(byte);
    text += k_digits[value >> 4];
    text += k_digits[value & 15];
  }
  return text;
}

Json module_json(const CompiledCandidate& compiled) {
  return {{"cubin", hex_of(compiled.cubin)}, {"lowered", compiled.lowered}};
}

/// How `family` draws an input: the kind and all its numbers.
Json fill_json(const Task& task, const Workload& workload, const Fill& fill) {
  Json json{{"kind", fill.kind}};
  const std::map<std::string, double> names = formula_names(task, workload);
  const auto add = [&](const std::vector<FillParameter>& parameters) {
    for (const FillParameter& parameter : parameters) {
      const std::string name(parameter.name);
      json[name] = real_to_json(fill_number(fill, name, names));
    }
  };
  const FillKind& kind = *find_fill_kind(fill.kind);
  add(kind.parameters);
  if (kind.place == FillPlace::device) add(fill_modifiers());
  return json;
}

const Fill& first_fill(const Task& task, const TensorSpec& tensor) {
  return tensor.role == Role::input ? fill_of(task.families.front(), tensor) : tensor.fill.front();
}

Json tensor_json(const Task& task, const Workload& workload, const TensorSpec& tensor,
                 const MetadataContents& metadata) {
  Json json{{"name", tensor.name},
            {"dtype", dtype_name(tensor.dtype)},
            {"shape", tensor_shape(tensor, workload)},
            {"role", role_name(tensor.role)}};
  const auto drawn = metadata.find(tensor.name);
  if (drawn != metadata.end())
    json["contents"] = drawn->second;
  else if (!tensor.fill.empty())
    json["fill"] = fill_json(task, workload, first_fill(task, tensor));
  return json;
}

Json gates_json(const Task& task) {
  Json json = Json::object();
  for (const TensorSpec& tensor : task.tensors) {
    if (tensor.role != Role::output && tensor.role != Role::inout) continue;
    const Precision& gate = precision_of(task, task.families.front(), tensor.name);
    json[tensor.name] = {{"compare", compare_name(gate.compare)},
                         {"row", gate.row},
                         {"element_ulp", gate.element_ulp},
                         {"element_rms", gate.element_rms},
                         {"absolute", gate.absolute},
                         {"emulated", gate.emulated}};
  }
  return json;
}

/// What the task's own program is given to compute inputs of the first family.
Json draw_json(const Task& task, const Workload& workload, const TensorSpec& computed, const Key& key) {
  const double variant = fill_number(first_fill(task, computed), "variant", formula_names(task, workload));
  return {static_cast<std::int64_t>(key.derive("computed").seed()), std::llround(variant), 0, 0};
}

class CodeRun {
 public:
  CodeRun(Compiler& compiler, const Request& request, const DeviceFacts& device)
      : compiler_(compiler),
        duel_(*request.duel),
        device_(device),
        task_(parse_task(request.task_document, request.reference_source, "task.json")) {
    for (const std::string& name : duel_.workloads) {
      const Workload* const workload = task_.find_workload(name);
      if (!workload) throw Error(fmt::format("no workload '{}'", name));
      points_.push_back({.workload = workload});
    }
  }

  Json run() {
    Json json{{"scalars", Json::object()}, {"arms", Json::object()}, {"inputs", nullptr}};
    for (const ScalarSpec& scalar : task_.scalars) json["scalars"][scalar.name] = scalar.value;
    for (std::size_t w = 0; w < points_.size(); ++w) json["workloads"].push_back(workload_json(w));
    for (const DuelArm& arm : duel_.arms) add_arm(arm, json);
    add_inputs(json);
    return json;
  }

 private:
  Json workload_json(std::size_t w) const {
    const Workload& workload = *points_[w].workload;
    const MetadataContents metadata =
        draw_metadata(task_, workload, 0, duel_.key.derive("workload", w).derive("metadata"));
    Json tensors = Json::array();
    for (const TensorSpec& tensor : task_.tensors)
      tensors.push_back(tensor_json(task_, workload, tensor, metadata));
    return {{"name", workload.name},      {"dims", workload.dims},   {"tensors", tensors},
            {"gates", gates_json(task_)}, {"plans", Json::object()}, {"inputs", nullptr}};
  }

  void add_arm(const DuelArm& arm, Json& json) const {
    auto result = compile_candidate(compiler_, arm.candidate, task_, Form::candidate, points_, device_);
    std::optional<Verdict> verdict;
    if (auto* failed = std::get_if<Verdict>(&result))
      verdict = std::move(*failed);
    else
      verdict = screen(std::get<CompiledCandidate>(result));
    if (verdict) {
      json["arms"][arm.label] = {
          {"refused", fmt::format("{} ({}): {}", verdict->stage, verdict->reason, verdict->message)}};
      return;
    }
    const auto& compiled = std::get<CompiledCandidate>(result);
    json["arms"][arm.label] = module_json(compiled);
    for (std::size_t w = 0; w < points_.size(); ++w)
      json["workloads"][w]["plans"][arm.label] = compiled.plans[w];
  }

  void add_inputs(Json& json) const {
    const auto computed = std::find_if(task_.tensors.begin(), task_.tensors.end(), is_computed);
    if (computed == task_.tensors.end()) return;
    const auto result = compile_candidate(compiler_, Candidate{.source = task_.reference_source}, task_,
                                          Form::inputs, points_, device_);
    if (const auto* verdict = std::get_if<Verdict>(&result))
      throw Error(fmt::format("the program of computed inputs cannot be used: {}", verdict->message));
    const auto& compiled = std::get<CompiledCandidate>(result);
    json["inputs"] = module_json(compiled);
    for (std::size_t w = 0; w < points_.size(); ++w)
      json["workloads"][w]["inputs"] = {
          {"plan", compiled.plans[w]},
          {"draw", draw_json(task_, *points_[w].workload, *computed, duel_.key.derive("workload", w))}};
  }

  Compiler& compiler_;
  const DuelRequest& duel_;
  const DeviceFacts& device_;
  const Task task_;
  std::vector<PlanPoint> points_;
};

std::vector<std::string> read_requests(const std::filesystem::path& in) {
  std::ifstream stream(in);
  if (!stream) throw ConfigError(in.string(), "", "the requests cannot be read");
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) {
    if (line.empty()) continue;
    if (lines.size() == k_code_requests_max || line.size() > k_line_bytes_max)
      throw ConfigError(in.string(), "", "there are too many requests, or too long ones");
    lines.push_back(std::move(line));
  }
  return lines;
}

Json answer(Compiler& compiler, const std::string& line, const DeviceFacts& device) {
  try {
    const Request request = decode_request(line);
    if (!request.duel) throw Error("code is exported for duels only");
    return code_of(compiler, request, device);
  } catch (const std::exception& error) {
    return {{"kernelites_code", k_code_version}, {"id", request_id_of(line)}, {"error", error.what()}};
  }
}

}  // namespace

Json code_of(Compiler& compiler, const Request& request, const DeviceFacts& device) {
  Json json;
  try {
    json = CodeRun(compiler, request, device).run();
    json["error"] = "";
  } catch (const std::exception& error) {
    json = Json{{"error", error.what()}};
  }
  json["kernelites_code"] = k_code_version;
  json["id"] = request.id;
  json["device"] = device;
  return json;
}

int export_code(const WorkerOptions& options, const std::filesystem::path& in,
                const std::filesystem::path& out) {
  const std::vector<std::string> lines = read_requests(in);
  Compiler compiler(find_toolkit(options.toolkit), "/proc/self/exe", options.defences,
                    options.allows_weak_jail);
  const DeviceFacts device = probe_device(options.device == "auto" ? "gpu" : options.device);
  std::ofstream stream(out, std::ios::app);
  std::mutex mutex;
  std::atomic<std::size_t> next = 0;
  std::vector<std::thread> threads;
  const auto jobs = static_cast<std::size_t>(options.jobs > 0 ? options.jobs : 1);
  for (std::size_t i = 0; i < std::min(jobs, lines.size()); ++i) {
    threads.emplace_back([&] {
      for (std::size_t at; (at = next++) < lines.size();) {
        const std::string text = answer(compiler, lines[at], device).dump() + "\n";
        const std::lock_guard lock(mutex);
        stream << text << std::flush;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (!stream) throw Error(fmt::format("{} cannot be written", out.string()));
  return 0;
}

}  // namespace kernelites::worker
