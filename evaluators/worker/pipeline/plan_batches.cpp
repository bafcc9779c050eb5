// SPDX-License-Identifier: Apache-2.0
// Batches that fail are halved until the shape is known.
#include "evaluators/worker/pipeline/plan_batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include "evaluators/worker/nvrtc/candidate_compiler.h"
#include "evaluators/worker/nvrtc/compile_log.h"

namespace kernelites::worker {
namespace {

/// The compiler starts in a quarter of a second and takes 5 ms for a plan.
constexpr std::size_t k_batch = 400;
/// Room for a plan on average; a batch that needs more is halved.
constexpr std::size_t k_words_mean = 160, k_words_most = 2816;
constexpr double k_batch_deadline_s = 60;

std::vector<std::string> options_of(Compiler& compiler, const PlanSource& source) {
  std::string architecture = source.device.architecture;
  if (architecture.starts_with("sm_")) architecture.replace(0, 3, "compute_");
  std::vector<std::string> options = {"-arch=" + architecture, "--std=c++20", "-default-device"};
  for (const auto& folder : compiler.toolkit().include_folders) options.push_back("-I" + folder.string());
  std::map<std::string, std::int64_t> values;
  for (const Tunable& tunable : parse_tunables(source.candidate.source))
    values[tunable.name] = tunable.values.at(0);
  for (const auto& [name, value] : source.candidate.tuning) values[name] = value;
  for (const auto& [name, value] : values) options.push_back(fmt::format("-D{}={}", name, value));
  if (compiler.toolkit().version >= "NVRTC 13") options.push_back("--Ofast-compile=max");
  return options;
}

std::string words_of(const CompileOutput& output) {
  if (output.failure != "compile_error") return std::string(words_of_failure(output.failure));
  for (const CompilerMessage& message : read_messages(output.log))
    if (message.is_error) return message.text;
  return "the plan is no constant expression";
}

class Batches {
 public:
  Batches(Compiler& compiler, const PlanSource& source, const std::vector<PlanPoint>& points)
      : compiler_(compiler), source_(source), points_(points), options_(options_of(compiler, source)) {
    results_.resize(points.size());
  }

  std::variant<std::vector<PlanWords>, PlanFailure> run(int jobs) {
    const std::size_t count = (points_.size() + k_batch - 1) / k_batch;
    std::atomic<std::size_t> next = 0;
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < std::min(count, static_cast<std::size_t>(std::max(jobs, 1))); ++i)
      threads.emplace_back([&] {
        for (std::size_t batch; (batch = next++) < count;)
          evaluate(batch * k_batch, std::min(points_.size(), (batch + 1) * k_batch));
      });
    for (std::thread& thread : threads) thread.join();
    if (failure_) return *failure_;
    return std::move(results_);
  }

 private:
  bool has_failed() {
    const std::lock_guard lock(mutex_);
    return failure_.has_value();
  }

  void evaluate(std::size_t begin, std::size_t end) {
    if (has_failed()) return;
    const std::size_t count = end - begin;
    const std::size_t room = count == 1 ? k_words_most : std::max(count * k_words_mean, k_words_most);
    CompileInput input{.source = plan_batch_unit(source_.task, source_.form, source_.typed_by,
                                                 std::span(points_).subspan(begin, count), source_.device,
                                                 source_.candidate.source, room),
                       .file_name = std::string(k_candidate_file),
                       .headers = contract_headers(),
                       .options = options_,
                       .name_expressions = {},
                       .ptx_only = true};
    const CompileOutput output = compiler_.compile(input, k_batch_deadline_s);
    std::string words = output.ok ? "" : words_of(output);
    if (output.ok) {
      auto plans = read_plan_words(output.ptx, count);
      if (auto* list = std::get_if<std::vector<PlanWords>>(&plans)) {
        std::move(list->begin(), list->end(), results_.begin() + static_cast<std::ptrdiff_t>(begin));
        return;
      }
      words = std::get<Verdict>(plans).message;
    }
    if (count == 1) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = PlanFailure{begin, words};
      return;
    }
    evaluate(begin, begin + count / 2);
    evaluate(begin + count / 2, end);
  }

  Compiler& compiler_;
  const PlanSource& source_;
  const std::vector<PlanPoint>& points_;
  const std::vector<std::string> options_;
  std::vector<PlanWords> results_;
  std::mutex mutex_;
  std::optional<PlanFailure> failure_;
};

}  // namespace

std::variant<std::vector<PlanWords>, PlanFailure> evaluate_batches(Compiler& compiler,
                                                                   const PlanSource& source,
                                                                   const std::vector<PlanPoint>& points,
                                                                   int jobs) {
  return Batches(compiler, source, points).run(jobs);
}

}  // namespace kernelites::worker
