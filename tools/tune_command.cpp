// SPDX-License-Identifier: Apache-2.0
// kernelites tune: the fastest choices of a file's tunables, over all workloads and at each, proved and timed.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>

#include "engine/core/error.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/inspect/text_table.h"
#include "tools/tuning_session.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

struct TuneOptions {
  std::string file;
  std::string task;
  std::string device = "auto";
  std::string worker;
  std::string data;
  std::string log = "/dev/null";
  std::size_t choices_max = 64;
  int rounds = 20;
  bool is_json = false;
};

std::string verdict_text(const TunedChoice& choice) {
  if (!choice.verdict.is_passed) return choice.verdict.stage + ": " + choice.verdict.reason;
  return choice.twin_of.empty() ? "passed" : "passed, same code as " + choice.twin_of;
}

std::vector<std::string> row_of(const TunedChoice& choice) {
  const std::string interval =
      choice.proven ? fmt::format("[{:.3f}, {:.3f}] n={}", std::exp(-choice.proven->log_ratio_high),
                                  std::exp(-choice.proven->log_ratio_low), choice.proven->rounds)
                    : "";
  return {tuning_text(choice.candidate.tuning),
          choice.speedup > 0 ? fmt::format("{:.3f}", choice.speedup) : "-", interval, verdict_text(choice)};
}

void print_json(const TuningResult& result, const DeviceFacts& device, std::ostream& out) {
  Json choices = Json::array(), fastest = Json::object();
  for (const TunedChoice& choice : result.choices) {
    Json at = Json::object();
    for (const auto& [workload, value] : choice.log_speedup) at[workload] = std::exp(value);
    choices.push_back({{"tuning", choice.candidate.tuning},
                       {"verdict", choice.verdict},
                       {"speedup", choice.speedup},
                       {"speedup_at", at},
                       {"is_proven", choice.proven.has_value()}});
  }
  for (const auto& [workload, choice] : result.fastest)
    fastest[workload.empty() ? "all" : workload] = result.choices[choice].candidate.tuning;
  out << Json{{"device", device},
              {"is_modelled", device.is_virtual},
              {"choices", choices},
              {"fastest", fastest}}
             .dump(2)
      << "\n";
}

void print_table(const TuningResult& result, const DeviceFacts& device, std::ostream& out) {
  std::vector<const TunedChoice*> sorted;
  for (const TunedChoice& choice : result.choices) sorted.push_back(&choice);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const TunedChoice* a, const TunedChoice* b) { return a->speedup > b->speedup; });
  std::vector<std::vector<std::string>> rows{{"tunables", "speed-up", "interval", "verdict"}};
  for (const TunedChoice* choice : sorted) rows.push_back(row_of(*choice));
  out << fmt::format("on {}, speed-ups over the default, {}\n", device.kind,
                     device.is_virtual ? "modelled" : "measured")
      << text_table(rows);
  for (const auto& [workload, number] : result.fastest) {
    const TunedChoice& choice = result.choices[number];
    const double speedup = workload.empty() ? choice.speedup : std::exp(choice.log_speedup.at(workload));
    out << fmt::format("fastest {}: {} ({:.3f}x)\n",
                       workload.empty() ? "over all workloads" : "at " + workload,
                       tuning_text(choice.candidate.tuning), speedup);
  }
}

void tune(const TuneOptions& options, Program& program) {
  const DataRoot data = find_data_root(options.data, program.executable);
  const Task task = find_task(options.task, data);
  const Candidate start = load_candidate(options.file);
  if (start.tuning.empty())
    throw ConfigError(options.file, "", "declares no tunables (// tune: NAME = 32 | 64)");
  std::vector<std::string> problems;
  parse_tuning_rules(start.source, &problems);
  if (!problems.empty()) throw ConfigError(options.file, "", problems.front());

  const auto pool =
      start_workers({}, options.device, find_worker(options.worker, program.executable), options.log);
  const auto began = std::chrono::steady_clock::now();
  const auto say = [&](const std::string& line) {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - began;
    program.err << fmt::format("[{:.0f} s] {}\n", elapsed.count(), line) << std::flush;
  };
  const TuningResult result =
      tune_by_halving(*pool, task, device_of(pool->provenance()), start,
                      {.choices_max = options.choices_max, .rounds = options.rounds}, say);
  if (options.is_json)
    print_json(result, pool->provenance().device, program.out);
  else
    print_table(result, pool->provenance().device, program.out);
  const bool is_any_passed = std::any_of(result.choices.begin(), result.choices.end(),
                                         [](const TunedChoice& choice) { return choice.verdict.is_passed; });
  program.exit_code = is_any_passed ? exit_done : exit_failed;
}

}  // namespace

void add_tune_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<TuneOptions>();
  command.add_option("file", options->file, "The .cu file")->required();
  command.add_option("--task", options->task, "Task name or folder")->required();
  command.add_option("--device", options->device, "auto, gpu or vgpu")
      ->check(CLI::IsMember({"auto", "gpu", "vgpu"}));
  command.add_option("--choices", options->choices_max, "At most so many choices, the default with them")
      ->check(CLI::Range(2, 4096));
  command.add_option("--rounds", options->rounds, "Rounds of timing of the fastest; others get fewer")
      ->check(CLI::Range(2, 1000));
  command.add_option("--worker", options->worker, "The worker program");
  command.add_option("--log", options->log, "File for the worker's messages");
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer(
      "Progress is told on standard error. Choices that a line \"// where: WARPS * ROWS <= 8\" of the file "
      "excludes are not tried.\nExample: kernelites tune kernels_seed/gqa_decode_splitkv/split_kv.cu --task "
      "gqa_decode_splitkv");
  command.callback([options, &program] { tune(*options, program); });
}

}  // namespace kernelites
