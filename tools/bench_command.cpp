// SPDX-License-Identifier: Apache-2.0
// kernelites bench: the seeds of a task, or other files, timed against each other and the roofline.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "engine/core/device_names.h"
#include "engine/core/error.h"
#include "tools/baseline_bench.h"
#include "tools/bench_text.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/evaluation_requests.h"
#include "tools/model_key.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

struct BenchOptions {
  std::vector<std::string> files;
  std::string task;
  std::vector<std::string> workloads;
  std::string device = "auto";
  std::string worker;
  std::string data;
  std::string log = "/dev/null";
  std::string model_key;
  int rounds = 60;
  bool is_repeated = false;
  bool is_json = false;
  bool has_baselines = false;
  std::string baseline_file, batch, python = "python3", record;
};

/// The files, by their names; those of one name by their paths.
std::vector<BenchArm> arms_of(const BenchOptions& options, const Task& task, const DataRoot& data) {
  std::vector<BenchArm> arms;
  const auto name_of = [](const std::string& file) {
    return std::filesystem::path(file).filename().string();
  };
  for (const std::string& file : options.files) {
    if (std::count(options.files.begin(), options.files.end(), file) > 1)
      throw ConfigError("files", file, "is given twice: its times could not be told apart");
    const auto alike =
        std::count_if(options.files.begin(), options.files.end(),
                      [&](const std::string& other) { return name_of(other) == name_of(file); });
    arms.push_back({.seed = {alike > 1 ? file : name_of(file), load_candidate(file)}});
  }
  if (!arms.empty()) return arms;
  for (Seed& seed : find_seeds(task, data)) arms.push_back({.seed = std::move(seed)});
  return arms;
}

void check_workloads(const BenchOptions& options, const Task& task) {
  for (const std::string& name : options.workloads) {
    std::string names;
    bool is_known = false;
    for (const Workload& workload : task.bench) {
      is_known = is_known || workload.name == name;
      names += (names.empty() ? "" : ", ") + workload.name;
    }
    if (!is_known) throw ConfigError("--workload", name, "expected one of " + names);
  }
}

/// The files asked for, else the seeds but for the naive ones, which take a hundred times as long.
std::vector<Seed> library_seeds(const BenchOptions& options, const std::vector<BenchArm>& arms) {
  std::vector<Seed> good, all;
  for (const BenchArm& arm : arms) {
    if (arm.seed.name != "naive.cu") good.push_back(arm.seed);
    all.push_back(arm.seed);
  }
  return good.empty() || !options.files.empty() ? all : good;
}

std::unique_ptr<WorkerPool> gpu_workers(const BenchOptions& options, const Program& program) {
  try {
    return start_workers({}, "gpu", find_worker(options.worker, program.executable), options.log);
  } catch (const ConfigError&) {
    throw;
  } catch (const Error& error) {
    throw Error(
        fmt::format("baselines need a GPU: {}. With --batch FOLDER the job is written for another machine",
                    error.what()));
  }
}

/// Proven where there is a device; a batch is for a machine that proves them itself, or was given proven ones.
void beside_libraries(const BenchOptions& options, const Task& task, const DataRoot& data, Program& program) {
  BaselineBench bench{.seeds = library_seeds(options, arms_of(options, task, data)),
                      .workloads = options.workloads,
                      .file = options.baseline_file,
                      .batch = options.batch,
                      .python = options.python,
                      .worker = options.worker,
                      .log = options.log,
                      .record = options.record,
                      .rounds = options.rounds,
                      .is_json = options.is_json};
  if (options.batch.empty()) {
    const auto pool = gpu_workers(options, program);
    std::erase_if(bench.seeds, [&](const Seed& seed) {
      const Verdict verdict = examine(*pool, task, "gpu", "examine-" + seed.name, seed.candidate).verdict;
      if (!verdict.is_passed)
        program.err << fmt::format("{} is left out: stage {} ({}): {}\n", seed.name, verdict.stage,
                                   verdict.reason, verdict.message);
      return !verdict.is_passed;
    });
    if (bench.seeds.empty()) throw Error("no kernel passed");
  }
  bench_baselines(task, bench, data, program);
}

void bench(const BenchOptions& options, Program& program) {
  const DataRoot data = find_data_root(options.data, program.executable);
  const Task task = find_task(options.task, data);
  check_workloads(options, task);
  if (options.has_baselines || !options.baseline_file.empty() || !options.batch.empty())
    return beside_libraries(options, task, data, program);
  std::vector<BenchArm> arms = arms_of(options, task, data);
  const Key model_key = model_key_option(options.model_key);
  const auto pool =
      start_workers({}, options.device, find_worker(options.worker, program.executable), options.log);
  const std::string device = device_of(pool->provenance());
  const DeviceFacts facts = pool->provenance().device;

  for (BenchArm& arm : arms)
    arm.verdict = examine(*pool, task, device, "examine-" + arm.seed.name, arm.seed.candidate).verdict;
  const auto time_all = [&](const std::vector<DuelArm>& kernels) {
    return duel(*pool, task, device, kernels, options.rounds, options.workloads, model_key);
  };
  const BenchTiming timing = time_arms(arms, time_all);
  const Duel& timed = timing.duel;
  std::optional<Duel> repeated;
  if (options.is_repeated && timed.verdict.is_passed) repeated = time_all(duel_arms(arms));
  const bool is_done =
      timed.verdict.is_passed && (!repeated || repeated->verdict.is_passed) &&
      std::all_of(arms.begin(), arms.end(), [](const BenchArm& arm) { return arm.verdict.is_passed; });
  program.exit_code = is_done ? exit_done : exit_failed;

  const BenchRecord record{.device = facts, .arms = arms, .timing = timing, .repeated = repeated};
  if (options.is_json)
    program.out << bench_json(task, record).dump(2) << "\n";
  else
    program.out << bench_text(task, record);
}

}  // namespace

void add_bench_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<BenchOptions>();
  command.add_option("files", options->files, "Kernel files; all seeds of the task if there are none");
  command.add_option("--task", options->task, "Task name or folder")->required();
  command.add_option("--workload", options->workloads, "Only these bench workloads");
  command.add_option("--device", options->device, "auto, gpu, vgpu or vgpu:rtx4090")
      ->check(CLI::IsMember(device_names()));
  command.add_option("--rounds", options->rounds, "Rounds of timing, at most")->check(CLI::Range(2, 1000));
  command.add_option("--model-key", options->model_key, k_model_key_words);
  command.add_flag("--twice", options->is_repeated,
                   "Once more in a fresh process, and how far the two lie apart");
  command.add_option("--worker", options->worker, "The worker program");
  command.add_option("--log", options->log, "File for the worker's messages");
  command.add_option("--data", options->data, "Folder that holds tasks/, kernels_seed/ and prompts/");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.add_flag(
      "--baselines", options->has_baselines,
      "Beside the kernels of libraries: the task's baseline.py, in a process of Python with PyTorch");
  command.add_option("--baseline-file", options->baseline_file, "Another baseline.py (docs/baselines.md)");
  command.add_option("--batch", options->batch,
                     "With baselines: a folder for the job, and for its results from another machine");
  command.add_option("--python", options->python, "With baselines: the Python that has PyTorch");
  command.add_option("--record", options->record, "With baselines: also put the figures into this JSON file");
  command.footer(
      "Examples: kernelites bench --task softmax_row\n"
      "          kernelites bench --task gqa_prefill_causal --baselines");
  command.callback([options, &program] { bench(*options, program); });
}

}  // namespace kernelites
