// SPDX-License-Identifier: Apache-2.0
// Orders in, code and plans out: one arm after the other, then the reference.
#include "evaluators/worker/pipeline/library_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "evaluators/worker/contract/plan_check.h"
#include "evaluators/worker/contract/screen.h"
#include "evaluators/worker/contract/source_rules.h"
#include "evaluators/worker/nvrtc/candidate_compiler.h"
#include "evaluators/worker/pipeline/plan_batches.h"
#include "evaluators/worker/pipeline/test_material.h"

namespace kernelites::worker {
namespace {

constexpr int k_order_version = 1, k_library_version = 1;
constexpr std::size_t k_order_bytes_max = std::size_t{256} << 20;
/// Shapes that are compiled for besides the listed ones, because a plan launches another kernel there.
constexpr std::size_t k_further_points_max = 48;

std::string digest_of(const PlanWords& words) {
  return digest({reinterpret_cast<const char*>(words.data()), words.size() * sizeof(words[0])});
}

Task with_scalars(Task task, const Json& scalars) {
  for (ScalarSpec& scalar : task.scalars)
    if (scalars.contains(scalar.name)) scalar.value = real_from_json(scalars.at(scalar.name));
  return task;
}

/// Workloads that own their dims, and points that borrow them.
struct Shapes {
  Shapes(const Task& task, const Json& rows) {
    workloads.reserve(rows.size());
    for (const Json& row : rows) {
      Workload workload;
      std::size_t at = 0;
      for (const DimSpec& dim : task.dims)
        workload.dims[dim.name] = dim.constant ? *dim.constant : row.at(at++).get<std::int64_t>();
      workloads.push_back(std::move(workload));
    }
    for (const Workload& workload : workloads) points.push_back({.workload = &workload});
  }
  Shapes(const Shapes&) = delete;
  std::vector<Workload> workloads;
  std::vector<PlanPoint> points;
};

/// What plans at many shapes amount to.
struct Survey {
  std::set<std::string> kernels;
  std::int64_t unsupported = 0, invalid = 0;
  std::string first_invalid;
  std::vector<std::string> words;  ///< of refusals, each once
  Json refusals = Json::array();   ///< [batch, shape, word]
};

class ArmOrder {
 public:
  ArmOrder(Compiler& compiler, const Task& task, const Json& order, const Json& arm,
           const std::vector<PlanPoint>& listed, int jobs)
      : compiler_(compiler),
        task_(task),
        order_(order),
        candidate_(arm.at("candidate").get<Candidate>()),
        listed_(listed),
        points_(listed),
        jobs_(jobs) {
    order.at("device").get_to(device_);
    device_.is_virtual = false;
  }

  Json run() {
    if (auto verdict = check_source(candidate_.source)) return refused(*verdict);
    if (auto words = survey_listed()) return {{"refused", *words}};
    if (auto words = add_tables()) return {{"refused", *words}};
    if (auto words = add_proof()) return {{"refused", *words}};
    answer_["images"] = Json::object();
    for (const Json& architecture : order_.at("architectures"))
      if (auto verdict = add_image(architecture.get<std::string>())) return refused(*verdict);
    answer_["unsupported"] = survey_.unsupported;
    answer_["invalid"] = survey_.invalid;
    answer_["first_invalid"] = survey_.first_invalid;
    answer_["refusals"] = survey_.refusals;
    answer_["refusal_words"] = survey_.words;
    answer_["refused"] = "";
    return answer_;
  }

 private:
  static Json refused(const Verdict& verdict) {
    return {{"refused", fmt::format("{} ({}): {}", verdict.stage, verdict.reason, verdict.message)}};
  }

  static std::string shape_words(const Task& task, const PlanPoint& point) {
    std::string words;
    for (const DimSpec& dim : task.dims)
      if (!dim.constant)
        words +=
            fmt::format("{}{} = {}", words.empty() ? "" : ", ", dim.name, point.workload->dims.at(dim.name));
    return words;
  }

  std::variant<std::vector<PlanWords>, std::string> evaluate(const Task& task, const DeviceFacts& device,
                                                             const std::vector<PlanPoint>& points) {
    const PlanSource source{.task = task, .candidate = candidate_, .typed_by = listed_, .device = device};
    auto plans = evaluate_batches(compiler_, source, points, jobs_);
    if (const auto* failure = std::get_if<PlanFailure>(&plans))
      return fmt::format("the plan cannot be evaluated at {}: {}", shape_words(task, points[failure->point]),
                         failure->words);
    return std::move(std::get<std::vector<PlanWords>>(plans));
  }

  /// Counts what the library will refuse, and takes points along whose plans launch a kernel not seen before.
  void survey(const std::vector<PlanWords>& plans, const std::vector<PlanPoint>& points,
              const DeviceFacts& device, int batch) {
    for (std::size_t i = 0; i < plans.size(); ++i) {
      const auto decoded = decode_plan(plans[i]);
      const auto* plan = std::get_if<LaunchPlan>(&decoded);
      if (plan && !plan->unsupported.empty()) {
        ++survey_.unsupported;
        add_refusal(batch, i, plan->unsupported);
        continue;
      }
      std::optional<Verdict> verdict;
      if (plan)
        verdict = check_plan(*plan, task_, Form::candidate, points[i], device, compiler_.defences());
      else
        verdict = std::get<Verdict>(decoded);
      if (verdict) {
        if (survey_.invalid++ == 0)
          survey_.first_invalid = fmt::format("{}: {}", shape_words(task_, points[i]), verdict->message);
        add_refusal(batch, i, fmt::format("no launch can follow the plan ({})", verdict->reason));
        continue;
      }
      bool is_new = false;
      for (const PlannedLaunch& launch : plan->launches)
        is_new = survey_.kernels.insert(launch.kernel).second || is_new;
      if (is_new && points_.size() < listed_.size() + k_further_points_max) points_.push_back(points[i]);
    }
  }

  void add_refusal(int batch, std::size_t shape, const std::string& words) {
    const auto found = std::find(survey_.words.begin(), survey_.words.end(), words);
    const auto word = found - survey_.words.begin();
    if (found == survey_.words.end()) survey_.words.push_back(words);
    survey_.refusals.push_back({batch, shape, word});
  }

  std::optional<std::string> survey_listed() {
    auto plans = evaluate(task_, device_, listed_);
    if (auto* words = std::get_if<std::string>(&plans)) return *words;
    for (const PlanWords& words : std::get<std::vector<PlanWords>>(plans))
      if (const auto decoded = decode_plan(words); const auto* plan = std::get_if<LaunchPlan>(&decoded))
        for (const PlannedLaunch& launch : plan->launches) survey_.kernels.insert(launch.kernel);
    return std::nullopt;
  }

  const std::vector<PlanPoint>& keep(const Json& rows) {
    shapes_.push_back(std::make_unique<Shapes>(task_, rows));
    return shapes_.back()->points;
  }

  std::optional<std::string> add_tables() {
    const std::vector<PlanPoint>& points = keep(order_.at("tables"));
    answer_["tables"] = Json::array();
    if (points.empty()) return std::nullopt;
    auto plans = evaluate(with_scalars(task_, order_.at("scalars")), device_, points);
    if (auto* words = std::get_if<std::string>(&plans)) return *words;
    survey(std::get<std::vector<PlanWords>>(plans), points, device_, -1);
    answer_["tables"] = std::get<std::vector<PlanWords>>(plans);
    return std::nullopt;
  }

  std::optional<std::string> add_proof() {
    answer_["proof"] = Json::array();
    for (const Json& batch : order_.at("proof")) {
      DeviceFacts device = batch.at("device").get<DeviceFacts>();
      device.is_virtual = false;
      const std::vector<PlanPoint>& points = keep(batch.at("shapes"));
      auto plans = evaluate(with_scalars(task_, batch.at("scalars")), device, points);
      if (auto* words = std::get_if<std::string>(&plans)) return *words;
      Json digests = Json::array();
      for (const PlanWords& words : std::get<std::vector<PlanWords>>(plans))
        digests.push_back(digest_of(words));
      survey(std::get<std::vector<PlanWords>>(plans), points, device,
             static_cast<int>(answer_["proof"].size()));
      answer_["proof"].push_back(std::move(digests));
    }
    return std::nullopt;
  }

  std::optional<Verdict> add_image(const std::string& architecture) {
    DeviceFacts device = device_;
    device.architecture = architecture;
    auto result = compile_candidate(compiler_, candidate_, task_, Form::candidate, points_, device);
    if (auto* verdict = std::get_if<Verdict>(&result)) return *verdict;
    const auto& compiled = std::get<CompiledCandidate>(result);
    if (auto verdict = screen(compiled, compiler_.defences())) return *verdict;
    Json kernels = Json::array();
    for (const KernelResources& kernel : compiled.kernels)
      kernels.push_back({{"kernel", kernel.kernel},
                         {"registers", kernel.registers},
                         {"static_shared_bytes", kernel.static_shared_bytes},
                         {"local_bytes", kernel.local_bytes},
                         {"code_bytes", kernel.code_bytes}});
    answer_["images"][architecture] = {{"cubin", hex_of(compiled.cubin.data(), compiled.cubin.size())},
                                       {"lowered", compiled.lowered},
                                       {"kernels", kernels}};
    return std::nullopt;
  }

  Compiler& compiler_;
  const Task& task_;
  const Json& order_;
  const Candidate candidate_;
  const std::vector<PlanPoint>& listed_;
  std::vector<PlanPoint> points_;
  const int jobs_;
  DeviceFacts device_;
  std::vector<std::unique_ptr<Shapes>> shapes_;
  Survey survey_;
  Json answer_ = Json::object();
};

std::size_t shapes_in(const Json& order) {
  std::size_t count = order.at("tables").size();
  for (const Json& batch : order.at("proof")) count += batch.at("shapes").size();
  return count;
}

Json worked_out(Compiler& compiler, const Json& order, int jobs) {
  if (order.at("kernelites_order") != k_order_version) throw Error("the order is of another version");
  if (shapes_in(order) > k_order_shapes_max)
    throw Error(fmt::format("an order has at most {} shapes", k_order_shapes_max));
  const Task task =
      parse_task(order.at("task"), order.at("reference_source").get<std::string>(), "order: task");
  std::vector<PlanPoint> listed;
  for (const auto* workloads : {&task.check, &task.bench})
    for (const Workload& workload : *workloads) listed.push_back({.workload = &workload});
  Json answer{{"toolkit", compiler.toolkit().version}, {"arms", Json::array()}, {"test", nullptr}};
  for (const Json& arm : order.at("arms")) {
    answer["arms"].push_back(ArmOrder(compiler, task, order, arm, listed, jobs).run());
    answer["arms"].back()["label"] = arm.at("label");
  }
  if (order.at("with_test")) {
    // The reference answers for the scalars that tables were made for.
    const Task scaled = with_scalars(task, order.at("scalars"));
    const TestOrder wanted{.task = scaled,
                           .points = listed,
                           .device = order.at("device").get<DeviceFacts>(),
                           .architectures = order.at("architectures").get<std::vector<std::string>>(),
                           .jobs = jobs};
    answer["test"] = test_material(compiler, wanted);
  }
  return answer;
}

}  // namespace

Json answer_order(Compiler& compiler, const Json& order, int jobs) {
  Json answer;
  try {
    answer = worked_out(compiler, order, jobs);
    answer["error"] = "";
  } catch (const std::exception& error) {
    answer = Json{{"error", error.what()}};
  }
  answer["kernelites_library"] = k_library_version;
  return answer;
}

int serve_order(const WorkerOptions& options, const std::filesystem::path& in,
                const std::filesystem::path& out) {
  std::error_code error;
  if (std::filesystem::file_size(in, error) > k_order_bytes_max || error)
    throw ConfigError(in.string(), "", "is no order, or too large a one");
  Compiler compiler(find_toolkit(options.toolkit), "/proc/self/exe", options.defences,
                    options.allows_weak_jail);
  const Json answer = answer_order(compiler, read_json(in), options.jobs > 0 ? options.jobs : 2);
  write_text_atomically(out, answer.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  return 0;
}

}  // namespace kernelites::worker
