// SPDX-License-Identifier: Apache-2.0
// The compile stages of a candidate, in the order in which they run.
#include "evaluators/worker/nvrtc/candidate_compiler.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "evaluators/worker/contract/cubin.h"
#include "evaluators/worker/contract/plan_check.h"
#include "evaluators/worker/contract/plan_reader.h"
#include "evaluators/worker/contract/source_rules.h"
#include "evaluators/worker/nvrtc/code_report.h"
#include "evaluators/worker/nvrtc/compile_log.h"

namespace kernelites::worker {
namespace {

/// Everything that the stages share.
struct Work {
  Compiler& compiler;
  const Candidate& candidate;
  const Task& task;
  Form form;
  std::span<const PlanPoint> points;
  const DeviceFacts& device;
};

/// References are trusted and come again with every examination; a candidate is compiled afresh, by a child of its own.
CompileOutput run_compiler(const Work& work, const CompileInput& input, double deadline_s) {
  return work.form == Form::reference ? work.compiler.compile_once(input, deadline_s)
                                      : work.compiler.compile(input, deadline_s);
}

std::variant<std::vector<std::string>, Verdict> common_options(const Work& work) {
  std::vector<std::string> options = {"-arch=" + work.device.architecture, "--std=c++20", "-default-device"};
  for (const auto& folder : work.compiler.toolkit().include_folders)
    options.push_back("-I" + folder.string());
  std::map<std::string, std::int64_t> values;
  for (const Tunable& tunable : parse_tunables(work.candidate.source))
    values[tunable.name] = tunable.values.at(0);
  for (const auto& [name, value] : work.candidate.tuning) {
    if (!values.contains(name)) {
      return Verdict::failed("compile", "tuning_unknown",
                             fmt::format("the source declares no tunable \"{}\"", name));
    }
    values[name] = value;
  }
  for (const auto& [name, value] : values) options.push_back(fmt::format("-D{}={}", name, value));
  return options;
}

/// The options for a compile that ends with PTX: a virtual architecture keeps ptxas out of it.
std::vector<std::string> without_ptxas(std::vector<std::string> options) {
  for (std::string& option : options) {
    if (option.starts_with("-arch=sm_")) option.replace(0, 9, "-arch=compute_");
  }
  std::erase_if(options, [](const std::string& option) { return option.starts_with("--ptxas-options"); });
  return options;
}

CompileInput input_for(std::string source, std::vector<std::string> options, bool ptx_only) {
  return {.source = std::move(source),
          .file_name = std::string(k_candidate_file),
          .headers = contract_headers(),
          .options = std::move(options),
          .name_expressions = {},
          .ptx_only = ptx_only};
}

std::string first_words(const std::vector<Diagnostic>& diagnostics, const std::string& otherwise) {
  if (diagnostics.empty()) return otherwise;
  const Diagnostic& first = diagnostics.front();
  return first.line > 0 ? fmt::format("line {}: {}", first.line, first.message) : first.message;
}

/// A failed compile as a verdict. Errors at the harness's table of plans are the plan's, all others the
/// code's.
Verdict compile_failure(const CompileOutput& output, const std::string& stage) {
  // What the log says here could be the candidate's own words: the failure speaks for itself.
  if (output.failure != "compile_error") {
    return Verdict::failed(stage, output.failure, std::string(words_of_failure(output.failure)));
  }
  std::vector<CompilerMessage> messages = read_messages(output.log);
  std::erase_if(messages, [](const CompilerMessage& message) { return !message.is_error; });
  const auto is_own = [](const CompilerMessage& message) {
    return !message.is_in_suffix && !message.is_kernel_name;
  };
  std::string reason = "compile_error", where = "compile";
  if (std::any_of(messages.begin(), messages.end(), is_own)) {
    std::erase_if(messages, [&](const CompilerMessage& message) { return !is_own(message); });
  } else if (!messages.empty()) {
    where = "plan";
    const bool is_missing = messages[0].text.find("has no \"plan\"") != std::string::npos;
    reason = messages[0].is_kernel_name ? "plan_unknown_kernel"
             : is_missing               ? "plan_missing"
                                        : "plan_not_constant";
  }
  Verdict verdict = Verdict::failed(where, reason, "");
  verdict.diagnostics = error_diagnostics(messages, reason);
  if (reason == "plan_missing") {
    verdict.message = "the source has no function constexpr void plan(const Problem& p, kl::Plan& plan)";
  } else {
    verdict.message = first_words(verdict.diagnostics, "the compiler refused the source");
  }
  return verdict;
}

std::variant<std::vector<LaunchPlan>, Verdict> evaluate_plans(const Work& work,
                                                              const std::vector<std::string>& common,
                                                              std::span<const PlanPoint> points,
                                                              StageTimes& times) {
  std::vector<std::string> options = without_ptxas(common);
  if (work.compiler.toolkit().version >= "NVRTC 13") options.push_back("--Ofast-compile=max");
  const CompileOutput output =
      run_compiler(work,
                   input_for(plan_unit(work.task, work.form, points, work.device, work.candidate.source),
                             std::move(options), true),
                   k_plan_deadline_s);
  times["plan"] += output.ms;
  if (!output.ok) return compile_failure(output, "plan");
  return read_plans(output.ptx, points.size());
}

/// What is said of every failure at hidden points, whatever it was: each further word would tell of their extents.
Verdict hidden_failure() {
  return Verdict::failed(
      "plan", "plan_fails_elsewhere",
      "the plan cannot be evaluated or launched at a shape within the task's ranges that is not "
      "among the listed workloads");
}

/// Evaluates all plans. A source that fails is compiled again for the visible points alone, so that no error, wherever
/// the candidate raises it, can speak of hidden ones.
std::variant<std::vector<LaunchPlan>, Verdict> plan_stage(const Work& work,
                                                          const std::vector<std::string>& common,
                                                          StageTimes& times) {
  auto plans = evaluate_plans(work, common, work.points, times);
  const auto is_hidden = [](const PlanPoint& point) { return point.is_hidden; };
  if (const auto* verdict = std::get_if<Verdict>(&plans)) {
    // What was stopped would be stopped again, and says nothing of any point.
    const bool is_stopped = std::any_of(std::begin(k_compile_failures), std::end(k_compile_failures),
                                        [&](const auto& failure) { return failure.code == verdict->reason; });
    if (is_stopped) return plans;
    if (std::none_of(work.points.begin(), work.points.end(), is_hidden)) return plans;
    std::vector<PlanPoint> visible;
    std::remove_copy_if(work.points.begin(), work.points.end(), std::back_inserter(visible), is_hidden);
    if (visible.empty()) return hidden_failure();
    auto again = evaluate_plans(work, common, visible, times);
    if (std::holds_alternative<Verdict>(again)) return again;
    return hidden_failure();
  }
  const auto& list = std::get<std::vector<LaunchPlan>>(plans);
  // A listed workload's verdict helps more than a hidden one's, which says nothing.
  for (const bool hidden : {false, true}) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (work.points[i].is_hidden != hidden) continue;
      auto wrong =
          check_plan(list[i], work.task, work.form, work.points[i], work.device, work.compiler.defences());
      if (wrong) return hidden ? hidden_failure() : *wrong;
    }
  }
  return plans;
}

/// ptxas speaks of PTX lines; a second, PTX-only compile tells which lines of the candidate they came from.
Verdict ptxas_failure(const Work& work, CompileInput input, const CompileOutput& output) {
  Verdict verdict = Verdict::failed("compile", "compile_error", "");
  input.ptx_only = true;
  input.options = without_ptxas(std::move(input.options));
  const CompileOutput ptx = work.compiler.compile(input, k_code_deadline_s);
  for (const PtxComplaint& complaint : read_ptx_complaints(output.log)) {
    const int line = ptx.ok ? source_line_of(ptx.ptx, complaint.ptx_line) : 0;
    verdict.diagnostics.push_back({"ptxas_error", complaint.text, line});
  }
  verdict.message = first_words(verdict.diagnostics, "ptxas refused the code");
  return verdict;
}

/// Kernels that the plans launch, as these write them; of listed workloads only, or of all points.
std::set<std::string> launched_names(const Work& work, const std::vector<LaunchPlan>& plans,
                                     bool with_hidden) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    if (work.points[i].is_hidden && !with_hidden) continue;
    for (const PlannedLaunch& launch : plans[i].launches) names.insert(launch.kernel);
  }
  return names;
}

Verdict code_failure(const Work& work, CompileInput input, const CompileOutput& output) {
  const std::vector<CompilerMessage> messages = read_messages(output.log);
  const bool has_error =
      std::any_of(messages.begin(), messages.end(), [](const auto& m) { return m.is_error; });
  if (output.failure == "compile_error" && !has_error) return ptxas_failure(work, std::move(input), output);
  return compile_failure(output, "compile");
}

std::variant<CompileOutput, Verdict> code_stage(const Work& work, const std::vector<std::string>& common,
                                                const std::vector<LaunchPlan>& plans, StageTimes& times) {
  std::vector<std::string> options = common;
  options.push_back("--ptxas-options=-v");
  // Lines serve the virtual GPU's messages and errors of ptxas; the machine code is the same without, and compiles a
  // fifth faster.
  if (work.device.is_virtual) options.push_back("-lineinfo");
  // Of a source's kernels ptxas takes several at a time; the virtual GPU's examinations are many at a time and gain
  // nothing by threads. NOTE: not NVRTC's own --split-compile: with it NVRTC 13.0 leaves in local memory what lambdas
  // capture by reference, and a kernel that otherwise has no access to it took 1.38 times as long.
  if (!work.device.is_virtual && work.compiler.toolkit().version >= "NVRTC 13")
    options.push_back("--ptxas-options=--split-compile=0");
  auto own = candidate_options(work.candidate.source);
  if (auto* verdict = std::get_if<Verdict>(&own)) return *verdict;
  const auto& extra = std::get<std::vector<std::string>>(own);
  options.insert(options.end(), extra.begin(), extra.end());
  CompileInput input = input_for(code_unit(work.task, work.form, work.points, work.candidate.source),
                                 std::move(options), false);
  const auto compile = [&](const std::set<std::string>& names) {
    input.name_expressions.assign(names.begin(), names.end());
    CompileOutput output = run_compiler(work, input, k_code_deadline_s);
    times["compile"] += output.ms;
    return output;
  };
  const std::set<std::string> all = launched_names(work, plans, true);
  const std::set<std::string> listed = launched_names(work, plans, false);
  CompileOutput output = compile(all);
  if (output.ok) return output;
  // A bomb is not lit again.
  if (output.failure != "compile_error") return code_failure(work, std::move(input), output);
  if (!work.device.is_virtual) {
    input.options.push_back("-lineinfo");
    output = compile(all);
  }
  // A kernel that only a hidden shape launches may carry its extents in its name: its errors are not told.
  if (listed != all) {
    output = compile(listed);
    if (output.ok) return hidden_failure();
  }
  return code_failure(work, std::move(input), output);
}

}  // namespace

std::variant<CompiledCandidate, Verdict> compile_candidate(Compiler& compiler, const Candidate& candidate,
                                                           const Task& task, Form form,
                                                           std::span<const PlanPoint> points,
                                                           const DeviceFacts& device) {
  const Work work{compiler, candidate, task, form, points, device};
  const Defences& defences = compiler.defences();
  if (auto verdict = defences.keep(check_source(candidate.source))) return *verdict;
  auto common = common_options(work);
  if (auto* verdict = std::get_if<Verdict>(&common)) return *verdict;
  const auto& options = std::get<std::vector<std::string>>(common);

  CompiledCandidate compiled;
  auto plans = plan_stage(work, options, compiled.stage_ms);
  if (auto* verdict = std::get_if<Verdict>(&plans)) return *verdict;
  compiled.plans = std::move(std::get<std::vector<LaunchPlan>>(plans));
  compiled.source = candidate.source;

  auto code = code_stage(work, options, compiled.plans, compiled.stage_ms);
  if (auto* verdict = std::get_if<Verdict>(&code)) return *verdict;
  auto& output = std::get<CompileOutput>(code);
  if (auto verdict = report_code(output, device, compiled)) return *verdict;

  std::map<std::string, KernelResources> resources;
  for (const KernelResources& kernel : compiled.kernels) resources[kernel.kernel] = kernel;
  for (std::size_t i = 0; i < compiled.plans.size(); ++i) {
    auto verdict = defences.keep(
        check_plan_against_code(compiled.plans[i], task, form, compiled.signatures, resources, device));
    if (verdict) return points[i].is_hidden ? hidden_failure() : *verdict;
  }
  return compiled;
}

}  // namespace kernelites::worker
