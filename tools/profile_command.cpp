// SPDX-License-Identifier: Apache-2.0
// kernelites profile: hardware counters of a kernel at bench workloads, in plain terms, against the task's own counts.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "engine/core/device_names.h"
#include "engine/core/error.h"
#include "engine/core/roofline.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/evaluation_requests.h"
#include "tools/inspect/screen_text.h"
#include "tools/inspect/text_table.h"
#include "tools/tuning_words.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

struct ProfileOptions {
  std::string file;
  std::string task;
  std::vector<std::string> workloads;
  std::vector<std::string> tuning;
  std::string device = "auto";
  std::string worker;
  std::string data;
  std::string log = "/dev/null";
  bool is_json = false;
};

/// "1.003 of the task's bytes": a counter against what the task's formulas say, where both are of one kind.
std::string against_task(const CounterReading& reading, const RooflineCounts& counts) {
  if (reading.name.starts_with("dram_") && counts.bytes > 0)
    return fmt::format("{:.4f} of the task's bytes", reading.value / counts.bytes);
  if (reading.unit == "operations" && counts.flops > 0 && reading.value > 0)
    return fmt::format("{:.4f} of the task's operations", reading.value / counts.flops);
  return "";
}

void print_text(const Task& task, const std::vector<std::string>& workloads, const Profile& profile,
                std::ostream& out) {
  for (const std::string& name : workloads) {
    const auto found = profile.reports.find(name);
    if (found == profile.reports.end()) continue;
    out << name << ":\n";
    if (!found->second.problem.empty()) out << "  unchecked: " << found->second.problem << "\n";
    const RooflineCounts counts = roofline_counts(task, *task.find_workload(name));
    std::vector<std::vector<std::string>> cells{{"counter", "value", "unit", "against the task", "meaning"}};
    for (const CounterReading& reading : found->second.readings)
      cells.push_back({reading.name, fmt::format("{:.6g}", reading.value), reading.unit,
                       against_task(reading, counts), reading.words});
    if (cells.size() > 1) out << text_table(cells);
  }
}

void profile(const ProfileOptions& options, Program& program) {
  const DataRoot data = find_data_root(options.data, program.executable);
  const Task task = find_task(options.task, data);
  Candidate kernel =
      options.file.empty() ? find_seeds(task, data).front().candidate : load_candidate(options.file);
  apply_tuning(options.tuning, kernel);
  std::vector<std::string> workloads = options.workloads;
  if (workloads.empty()) workloads.push_back(task.bench.front().name);
  for (const std::string& name : workloads)
    if (!task.find_workload(name))
      throw ConfigError("--workload", name, "the task has no such bench workload");
  const auto pool =
      start_workers({}, options.device, find_worker(options.worker, program.executable), options.log);
  if (pool->provenance().device.is_virtual)
    throw Error(
        fmt::format("counters are read on a GPU, and this is the virtual one. What the model says: "
                    "kernelites bench --task {}{}",
                    shell_word(options.task), options.file.empty() ? "" : " " + shell_word(options.file)));
  const std::string device = device_of(pool->provenance());
  // Nothing is run that has not been proven.
  const Verdict verdict = examine(*pool, task, device, "examine", kernel).verdict;
  Profile result{.verdict = verdict, .reports = {}};
  if (verdict.is_passed) result = counters_of(*pool, task, device, kernel, workloads);
  const bool has_counts = std::any_of(result.reports.begin(), result.reports.end(),
                                      [](const auto& report) { return !report.second.readings.empty(); });
  program.exit_code = !result.verdict.is_passed ? exit_failed : has_counts ? exit_done : exit_trouble;
  if (program.exit_code == exit_trouble)
    program.err << fmt::format(
        "kernelites: nothing was counted: {}\n",
        result.reports.empty() ? "the worker sent no report" : result.reports.begin()->second.problem);
  if (options.is_json) {
    program.out << Json{{"task", task.name},
                        {"device", pool->provenance().device},
                        {"verdict", result.verdict},
                        {"reports", result.reports}}
                       .dump(2)
                << "\n";
    return;
  }
  program.out << fmt::format("{} on {}, counted; caches are cold\n", task.name,
                             pool->provenance().device.kind);
  if (!result.verdict.is_passed)
    program.out << fmt::format("stage {} ({}): {}\n", result.verdict.stage, result.verdict.reason,
                               result.verdict.message);
  print_text(task, workloads, result, program.out);
}

}  // namespace

void add_profile_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<ProfileOptions>();
  command.add_option("file", options->file, "A kernel file; the first seed of the task if there is none");
  command.add_option("--task", options->task, "Task name or folder")->required();
  command.add_option("--workload", options->workloads, "These bench workloads; the first if none is named");
  command.add_option("--tune", options->tuning, k_tune_option_words);
  command.add_option("--device", options->device, "auto, gpu, vgpu or vgpu:rtx4090")
      ->check(CLI::IsMember(device_names()));
  command.add_option("--worker", options->worker, "The worker program");
  command.add_option("--log", options->log, "File for the worker's messages");
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer(
      "Needs a GPU; exit code 3 where no counter can be read.\nExample: kernelites profile "
      "kernels_seed/softmax_row/vectorised.cu --task softmax_row");
  command.callback([options, &program] { profile(*options, program); });
}

}  // namespace kernelites
