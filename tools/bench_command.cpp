// SPDX-License-Identifier: Apache-2.0
// kernelites bench: the seeds of a task, or other files, timed against each other and the roofline.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "engine/core/device_names.h"
#include "engine/core/error.h"
#include "engine/core/roofline.h"
#include "tools/baseline_bench.h"
#include "tools/bench_timing.h"
#include "tools/command_line.h"
#include "tools/data_root.h"
#include "tools/evaluation_requests.h"
#include "tools/inspect/text_table.h"
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

std::vector<BenchArm> arms_of(const BenchOptions& options, const Task& task, const DataRoot& data) {
  std::vector<BenchArm> arms;
  for (const std::string& file : options.files)
    arms.push_back({.seed = {std::filesystem::path(file).filename().string(), load_candidate(file)}});
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

/// Times of one arm at one workload against the roofline, and against arm 0.
struct BenchRow {
  std::string workload, arm;
  ArmTiming timing;
  RooflineShare share;
  double speedup = 1, speedup_low = 1, speedup_high = 1;  ///< over arm 0
  double again = 0;        ///< how much more a second, fresh process measured; 0 where there was none
  double again_ratio = 0;  ///< the same of the ratio to arm 0
};

/// `repeated`: the same arms in another process, or null.
std::vector<BenchRow> rows_of(const Task& task, const DeviceFacts& device, const Duel& duel,
                              const std::optional<Duel>& repeated) {
  std::vector<BenchRow> rows;
  for (const Workload& workload : task.bench) {
    const auto timing = duel.timing.find(workload.name);
    if (timing == duel.timing.end()) continue;
    const auto ratios = duel.ratio.find(workload.name);
    for (std::size_t arm = 0; arm < timing->second.size(); ++arm) {
      BenchRow row{.workload = workload.name, .arm = duel.arms.at(arm), .timing = timing->second[arm]};
      row.share = roofline_share(counts_on(device, task, workload), device, row.timing.time_us_median);
      if (arm > 0 && ratios != duel.ratio.end()) {  // log(time of arm 0 / time of this arm)
        const PairedRatio& ratio = ratios->second.at(arm - 1);
        row.speedup = std::exp(ratio.log_ratio_median);
        row.speedup_low = std::exp(ratio.log_ratio_low);
        row.speedup_high = std::exp(ratio.log_ratio_high);
      }
      const auto again = repeated ? repeated->timing.find(workload.name) : duel.timing.end();
      if (repeated && again != repeated->timing.end())
        row.again = again->second.at(arm).time_us_median / row.timing.time_us_median - 1;
      const auto ratio_again = repeated ? repeated->ratio.find(workload.name) : duel.ratio.end();
      if (repeated && arm > 0 && ratio_again != repeated->ratio.end())
        row.again_ratio = std::exp(ratio_again->second.at(arm - 1).log_ratio_median) / row.speedup - 1;
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

/// A modelled ratio is one figure: it has no interval.
std::string speedup_text(const BenchRow& row) {
  if (row.timing.is_modelled) return fmt::format("{:.3f}", row.speedup);
  return fmt::format("{:.3f} [{:.3f}, {:.3f}]", row.speedup, row.speedup_low, row.speedup_high);
}

std::string table_of(const std::vector<BenchRow>& rows, const std::string& first, bool is_repeated) {
  std::vector<std::vector<std::string>> cells{{"workload", "arm", "time us", "p10", "p90", "n", "GB/s",
                                               "TFLOP/s", "% of floor", "limit", "x vs " + first}};
  for (const BenchRow& row : rows)
    cells.push_back({row.workload, row.arm, fmt::format("{:.2f}", row.timing.time_us_median),
                     fmt::format("{:.2f}", row.timing.time_us_p10),
                     fmt::format("{:.2f}", row.timing.time_us_p90),
                     row.timing.is_modelled ? "-" : fmt::to_string(row.timing.samples),
                     fmt::format("{:.0f}", row.share.gb_per_s), fmt::format("{:.1f}", row.share.tflop_per_s),
                     row.share.of_floor > 0 ? fmt::format("{:.1f}", 100 * row.share.of_floor) : "?",
                     std::string(row.share.limit), row.arm == first ? "1" : speedup_text(row)});
  if (is_repeated) {
    cells.front().insert(cells.front().end(), {"again %", "x again %"});
    for (std::size_t i = 0; i < rows.size(); ++i) {
      cells[i + 1].push_back(fmt::format("{:+.2f}", 100 * rows[i].again));
      cells[i + 1].push_back(rows[i].arm == first ? "" : fmt::format("{:+.2f}", 100 * rows[i].again_ratio));
    }
  }
  return text_table(cells);
}

Json json_of(const BenchRow& row) {
  Json json{{"workload", row.workload},
            {"arm", row.arm},
            {"timing", row.timing},
            {"gb_per_s", row.share.gb_per_s},
            {"tflop_per_s", row.share.tflop_per_s},
            {"floor_us", row.share.floor_us},
            {"share_of_floor", row.share.of_floor},
            {"limit", row.share.limit},
            {"speedup", row.speedup},
            {"again", row.again},
            {"again_ratio", row.again_ratio}};
  if (!row.timing.is_modelled) json["speedup_interval"] = {row.speedup_low, row.speedup_high};
  return json;
}

void print_text(const Task& task, const DeviceFacts& device, const std::vector<BenchArm>& arms,
                const BenchTiming& timing, const std::optional<Duel>& repeated, std::ostream& out) {
  const Duel& duel = timing.duel;
  out << fmt::format("{} on {}, {}\n", task.name, device.kind,
                     device.is_virtual ? "modelled: times are the model's, the same in every call"
                                       : "measured, arms interleaved in one process");
  for (const BenchArm& arm : arms) {
    if (!arm.verdict.is_passed)
      out << fmt::format("{} is left out: stage {} ({}): {}\n", arm.seed.name, arm.verdict.stage,
                         arm.verdict.reason, arm.verdict.message);
  }
  if (timing.first) out << fmt::format("first duel: {}: {}\n", timing.first->reason, timing.first->message);
  if (const int passes = passes_of(task); passes > 1)
    out << fmt::format("data are gone over {} times: once from memory, and what the chip cannot hold again\n",
                       passes);
  if (!duel.verdict.is_passed)
    out << fmt::format("timing ended early: {}: {}\n", duel.verdict.reason, duel.verdict.message);
  if (repeated && !repeated->verdict.is_passed)
    out << fmt::format("the second time ended early: {}: {}\n", repeated->verdict.reason,
                       repeated->verdict.message);
  if (!duel.arms.empty())
    out << table_of(rows_of(task, device, duel, repeated), duel.arms.front(), repeated.has_value());
  for (const std::string& note : duel.notes) out << note << "\n";
  for (const Json& baseline : task.baselines)
    out << fmt::format("baseline {} ({}): not measured here\n", baseline.value("name", ""),
                       baseline.value("library", ""));
  if (has_baselines(task)) out << "--baselines times those that baseline.py can run\n";
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

  if (!options.is_json) return print_text(task, facts, arms, timing, repeated, program.out);
  Json json{{"task", task.name},         {"device", facts},          {"is_modelled", facts.is_virtual},
            {"passes", passes_of(task)}, {"verdict", timed.verdict}, {"notes", timed.notes}};
  if (timing.first) json["first_verdict"] = *timing.first;
  if (repeated) json["verdict_again"] = repeated->verdict;
  for (const BenchArm& arm : arms)
    json["arms"].push_back({{"name", arm.seed.name}, {"verdict", arm.verdict}});
  for (const BenchRow& row : rows_of(task, facts, timed, repeated)) json["rows"].push_back(json_of(row));
  program.out << json.dump(2) << "\n";
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
