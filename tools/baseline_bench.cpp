// SPDX-License-Identifier: Apache-2.0
// Writes the job, runs the adapter here or leaves it to another machine, reads and prints the results.
#include "tools/baseline_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>

#include "engine/core/error.h"
#include "evaluators/child_process.h"
#include "evaluators/protocol/protocol.h"
#include "tools/baseline_table.h"
#include "tools/evaluation_requests.h"
#include "tools/inspect/text_table.h"

namespace kernelites {
namespace {

/// Compiling, preparing and timing of one workload, at most; the adapter gives up earlier on what does not move.
constexpr std::chrono::seconds k_workload_s_max{300};
constexpr std::size_t k_log_words_max = 2000;

std::filesystem::path baseline_file(const Task& task, const BaselineBench& bench) {
  return bench.file.empty() ? task.folder / "baseline.py" : std::filesystem::path(bench.file);
}

std::vector<Json> read_results(const std::filesystem::path& file) {
  std::vector<Json> results;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    Json json = Json::parse(line, nullptr, false);
    // A torn last line is measured again when the batch goes on.
    if (!json.is_discarded()) results.push_back(std::move(json));
  }
  return results;
}

std::string last_words(const std::filesystem::path& log) {
  std::string text = std::filesystem::exists(log) ? read_text(log) : "";
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const std::size_t line = text.rfind('\n');
  text = line == std::string::npos ? text : text.substr(line + 1);
  return text.substr(0, k_log_words_max);
}

std::filesystem::path adapter_of(const DataRoot& data) {
  return data.folder / "evaluators" / "baseline" / "baseline_batch.py";
}

/// Runs the adapter on this machine until it ends.
void run_adapter(const BaselineBench& bench, const DataRoot& data, const std::filesystem::path& worker,
                 const std::filesystem::path& jobs, const std::filesystem::path& results,
                 std::size_t workloads) {
  const std::filesystem::path log =
      bench.log.empty() || bench.log == "/dev/null" ? results.string() + ".log" : bench.log;
  ChildProcess child(
      {bench.python, adapter_of(data).string(), "--worker", worker.string(), jobs.string(), results.string()},
      log);
  if (!child.wait_for_end(k_workload_s_max * static_cast<int>(workloads + 1)))
    throw Error("the baselines did not end in time");
  if (child.end() != "exit code 0" && read_results(results).empty())
    throw Error(
        fmt::format("baselines cannot be timed here, which needs a GPU, a CUDA toolkit and {} with PyTorch "
                    "({}): {}. With --batch FOLDER the job is written for another machine",
                    bench.python, child.end(), last_words(log)));
}

void print_table(const Task& task, const BaselineTable& table, Program& program) {
  program.out << fmt::format("{} on {}, measured, PyTorch {}, {}, arms interleaved in one process\n",
                             task.name, table.device.kind, table.torch, table.date);
  for (const std::string& line : missing_arms(table)) program.out << line << "\n";
  program.out << text_table(baseline_cells(task, table));
  const auto comparison = compare_with_libraries(table);
  if (!comparison) {
    program.out << "no workload has a library's time beside a seed's: no speed-up is claimed\n";
    return;
  }
  program.out << fmt::format(
      "the fastest seed against the fastest library: {:.3f} times as fast (geometric mean of {} workloads, "
      "{:.3f} "
      "to {:.3f})\n",
      comparison->speedup, comparison->workloads, comparison->speedup_min, comparison->speedup_max);
}

void report(const Task& task, const BaselineBench& bench, const std::filesystem::path& results,
            Program& program) {
  const BaselineTable table = baseline_table(task, read_results(results));
  if (table.rows.empty()) throw Error(fmt::format("{} holds no result of {}", results.string(), task.name));
  MeasuredBaselines measured = read_measured(bench.record);
  record(measured, table);
  if (!bench.record.empty()) write_text_atomically(bench.record, Json(measured).dump(1) + "\n");
  if (bench.is_json)
    program.out << Json(measured).dump(2) << "\n";
  else
    print_table(task, table, program);
}

}  // namespace

bool has_baselines(const Task& task) { return std::filesystem::exists(task.folder / "baseline.py"); }

Json baseline_job(const Task& task, const BaselineBench& bench) {
  const std::filesystem::path file = baseline_file(task, bench);
  if (!std::filesystem::exists(file))
    throw ConfigError(file.string(), "", "no such file: the task has no baseline that can be run");
  std::vector<DuelArm> arms;
  for (const Seed& seed : bench.seeds) {
    const std::string label = std::filesystem::path(seed.name).stem().string();
    if (std::any_of(arms.begin(), arms.end(), [&](const DuelArm& arm) { return arm.label == label; }))
      throw ConfigError("files", seed.name, "beside libraries no two files may have one name");
    arms.push_back({label, seed.candidate});
  }
  const Request request =
      duel_request(task, "gpu", task.name, std::move(arms), bench.rounds, bench.workloads);
  Json digests{{"task", task.digest}, {"arms", Json::object()}};
  for (const auto& [name, id] : seed_ids(bench.seeds)) digests["arms"][name] = id;
  return {{"kernelites_baseline_job", 1},
          {"request", Json::parse(encode(request))},
          {"digests", std::move(digests)},
          {"baseline_source", read_text(file)},
          {"limit_s", bench.limit_s}};
}

void bench_baselines(const Task& task, const BaselineBench& bench, const DataRoot& data, Program& program) {
  const Json job = baseline_job(task, bench);
  const bool is_batch = !bench.batch.empty();
  const std::filesystem::path folder =
      is_batch ? std::filesystem::path(bench.batch)
               : std::filesystem::temp_directory_path() /
                     fmt::format("kernelites-{}", Key::random().hex().substr(0, 12));
  std::filesystem::create_directories(folder);
  const std::filesystem::path jobs = folder / (task.name + ".in.jsonl"),
                              results = folder / (task.name + ".out.jsonl");
  if (is_batch && std::filesystem::exists(results)) return report(task, bench, results, program);
  write_text_atomically(jobs, job.dump() + "\n");
  if (is_batch) {
    program.out << fmt::format(
        "wrote {}. On the machine with the GPU: python3 evaluators/baseline/baseline_batch.py --prove "
        "--worker "
        "kernelites-worker {} {}; then the same command again\n",
        jobs.string(), jobs.filename().string(), results.filename().string());
    return;
  }
  const auto workloads = job.at("request").at("duel").at("workloads").size();
  run_adapter(bench, data, find_worker(bench.worker, program.executable), jobs, results, workloads);
  report(task, bench, results, program);
  std::filesystem::remove_all(folder);
}

}  // namespace kernelites
