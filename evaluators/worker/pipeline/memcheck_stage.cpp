// SPDX-License-Identifier: Apache-2.0
// Stage memcheck: compute-sanitizer on real hardware, for candidates that would become elites (`is_thorough`).
//
// It sees what the virtual GPU cannot execute: accesses of wgmma and TMA kernels, and races of theirs in shared memory.
// Each tool watches a process of its own that launches the plan of a small shape once. Where the program is not
// installed, or a tool fails itself, the stage says "unchecked": it never fails a candidate for that. Synccheck does
// not follow a barrier for a count of threads that warps execute at different places, and calls it invalid: code with
// such a barrier is left to the virtual GPU, which does, if that could execute it.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "evaluators/worker/contract/counted_barrier.h"
#include "evaluators/worker/pipeline/evaluation_context.h"
#include "evaluators/worker/pipeline/lone_launch.h"

namespace kernelites::worker {
namespace {

/// Code with which the tool ends if it found something; no program of ours ends with it.
constexpr int k_finding_code = 86;
constexpr double k_tool_s_max = 30;
constexpr std::int64_t k_bytes_max = std::int64_t{4} << 20;

struct Tool {
  const char* name;
  const char* reason;
  const char* finding;
};
constexpr std::string_view k_synccheck = "synccheck";
constexpr Tool k_tools[] = {
    {"memcheck", "invalid_access", "an access outside of every buffer, or one that is not aligned"},
    {"racecheck", "shared_race", "a race in shared memory"},
    {k_synccheck.data(), "invalid_barrier", "a barrier that not all threads reach, or that is used wrongly"},
};

/// Beside the toolkit whose compiler is used, else where toolkits lie. Empty: not installed.
std::filesystem::path find_sanitizer(const Toolkit& toolkit) {
  std::vector<std::filesystem::path> roots{"/usr/local/cuda"};
  for (auto folder = toolkit.library.parent_path(); folder.has_relative_path(); folder = folder.parent_path())
    roots.push_back(folder);
  std::error_code ignored;
  for (const auto& root : roots) {
    for (const char* place : {"compute-sanitizer/compute-sanitizer", "bin/compute-sanitizer"}) {
      if (std::filesystem::is_regular_file(root / place, ignored)) return root / place;
    }
  }
  return {};
}

/// The tensors of the shape, inputs with the contents that they have now.
std::vector<LoneTensor> tensors_of(const EvaluationContext& context, const Workload& workload,
                                   WorkloadSession& session) {
  std::vector<LoneTensor> tensors;
  for (std::size_t i = 0; i < context.task.tensors.size(); ++i) {
    const TensorSpec& spec = context.task.tensors[i];
    LoneTensor tensor{
        .name = spec.name,
        .bytes = element_count(spec, workload) * static_cast<std::int64_t>(dtype_bytes(spec.dtype))};
    if (spec.role == Role::input || spec.role == Role::metadata)
      tensor.contents = session.read(static_cast<int>(i));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

/// Whether the virtual GPU executed all of it, barriers included.
bool was_interpreted(const EvaluationContext& context) {
  const auto& stages = context.examination.stages;
  return std::any_of(stages.begin(), stages.end(), [](const StageReport& report) {
    return report.stage == "sanitize" && report.outcome == "passed";
  });
}

/// The largest check shape that a tool gets through in moments.
std::optional<std::size_t> choose_shape(const EvaluationContext& context) {
  std::optional<std::size_t> chosen;
  for (const std::size_t i : smallest_checks(context)) {
    if (chosen && workload_bytes(context.task, context.points[i].workload) > k_bytes_max) break;
    chosen = i;
  }
  return chosen;
}

}  // namespace

std::optional<Verdict> run_memcheck_stage(EvaluationContext& context) {
  StageReport& report = context.report();
  const auto unchecked = [&](std::string why) {
    report.outcome = "unchecked";
    report.remark = std::move(why);
    return std::nullopt;
  };
  if (context.device.is_virtual) return unchecked("the virtual GPU checked every access already");
  if (!context.request.is_thorough) return unchecked("only for candidates that would become elites");
  const std::filesystem::path sanitizer = find_sanitizer(context.compiler.toolkit());
  if (sanitizer.empty()) return unchecked("compute-sanitizer is not installed");
  const std::optional<std::size_t> point = choose_shape(context);
  if (!point) return unchecked("the task has no check shape");

  const Workload& workload = context.points[*point].workload;
  WorkloadSession session((*context.station)->referee(), *context.executor, context.task, workload);
  session.fill(context.task.families.front(), *point, context.request.key.derive("memcheck"));
  const std::vector<LoneTensor> tensors = tensors_of(context, workload, session);
  std::vector<std::string> done, failed;
  const bool has_roles = was_interpreted(context) && has_counted_barrier(tokenize_ptx(context.compiled.ptx));
  for (const Tool& tool : k_tools) {
    if (has_roles && tool.name == k_synccheck) continue;
    const std::vector<std::string> command{
        sanitizer.string(), "--tool", tool.name,          "--report-api-errors",          "no",
        "--print-limit",    "1",      "--error-exitcode", std::to_string(k_finding_code), "--log-file",
        "/dev/null"};
    const LoneOutcome outcome =
        launch_alone(command, "gpu", image_of(context.compiled), context.compiled.plans[*point],
                     context.compiled.lowered, tensors, std::min(k_tool_s_max, context.seconds_left()));
    if (outcome.exit_code == k_finding_code) {
      return Verdict::failed("memcheck", tool.reason,
                             fmt::format("compute-sanitizer ({}) found {} at workload '{}'", tool.name,
                                         tool.finding, workload.name));
    }
    (outcome.fault || outcome.exit_code != 0 ? failed : done).push_back(tool.name);
  }
  report.counts["tools"] = static_cast<std::int64_t>(done.size());
  report.counts["shapes"] = 1;
  if (done.empty())
    return unchecked(fmt::format("compute-sanitizer could not run: {}", fmt::join(failed, ", ")));
  report.remark = fmt::format(
      "compute-sanitizer: {}{}{}", fmt::join(done, ", "),
      failed.empty() ? "" : fmt::format("; could not run: {}", fmt::join(failed, ", ")),
      has_roles ? "; unchecked: synccheck, which does not follow barriers for a count of threads" : "");
  return std::nullopt;
}

}  // namespace kernelites::worker
