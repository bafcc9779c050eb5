// SPDX-License-Identifier: Apache-2.0
// One table row per task.
#include "tools/task_markdown.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "engine/core/error.h"
#include "engine/core/negative_control.h"
#include "engine/core/roofline.h"
#include "tools/baseline_table.h"
#include "tools/task_status.h"

namespace kernelites {
namespace {

/// A cell must not end at a bar.
std::string cell(std::string text) {
  for (std::size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2))
    text.insert(at, "\\");
  return text;
}

std::string stem_of(const std::string& seed) { return std::filesystem::path(seed).stem().string(); }

/// The files' names; none where the task has no seeds.
std::vector<std::string> seed_files(const Task& task, const DataRoot& data) {
  std::vector<std::string> names;
  try {
    for (const Seed& seed : find_seeds(task, data)) names.push_back(seed.name);
  } catch (const ConfigError&) {
  }
  return names;
}

/// "naive, split_kv": the files without .cu.
std::string seed_names(const std::vector<std::string>& seeds) {
  std::vector<std::string> names;
  for (const std::string& seed : seeds) names.push_back(stem_of(seed));
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

std::string baseline_names(const Task& task) {
  std::vector<std::string> names;
  for (const Json& baseline : task.baselines) names.push_back(baseline.at("name").get<std::string>());
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

/// "2 of 2", or which did not pass and where; a mark if the task was another one then.
std::string status_cell(const Task& task, const std::vector<std::string>& seeds,
                        const std::optional<DeviceStatus>& device) {
  const auto found = device ? device->tasks.find(task.name) : decltype(device->tasks.find(task.name)){};
  if (!device || found == device->tasks.end() || found->second.seeds.empty()) return "not examined";
  std::size_t passed = 0;
  std::vector<std::string> others;
  for (const std::string& seed : seeds) {
    const auto outcome = found->second.seeds.find(seed);
    if (outcome == found->second.seeds.end())
      others.push_back(stem_of(seed) + ": not examined");
    else if (outcome->second == "passed")
      ++passed;
    else
      others.push_back(fmt::format("{}: {}", stem_of(seed), outcome->second));
  }
  return fmt::format("{} of {}{}{}", passed, seeds.size(),
                     others.empty() ? "" : fmt::format(" ({})", fmt::join(others, "; ")),
                     found->second.digest == task.digest ? "" : k_older_mark);
}

std::string range(double low, double high) {
  const long from = std::lround(100 * low), to = std::lround(100 * high);
  return from == to ? fmt::format("{}", from) : fmt::format("{}-{}", from, to);
}

/// The best seed's shares over the bench shapes: of the roofline's floor, and of the copy rate where memory sets it.
std::string share_cell(const Task& task, const std::optional<DeviceStatus>& device) {
  const auto found = device ? device->tasks.find(task.name) : decltype(device->tasks.find(task.name)){};
  if (!device || found == device->tasks.end()) return "";
  std::map<std::string, SeedTime> best;  // by shape
  for (const SeedTime& time : found->second.times) {
    const auto [at, is_new] = best.emplace(time.workload, time);
    if (!is_new && time.time_us < at->second.time_us) at->second = time;
  }
  double low = 1e9, high = 0, copy_low = 1e9, copy_high = 0;
  std::set<std::string> limits, seeds;
  int samples = 1 << 30;
  bool is_older = found->second.digest != task.digest;
  for (const auto& [shape, time] : best) {
    is_older = is_older || time.is_older;
    low = std::min(low, time.of_floor), high = std::max(high, time.of_floor);
    limits.insert(time.limit);
    seeds.insert(stem_of(time.seed));
    samples = std::min(samples, time.samples);
    if (time.limit == "memory")
      copy_low = std::min(copy_low, time.of_copy), copy_high = std::max(copy_high, time.of_copy);
  }
  if (best.empty()) return "";
  return fmt::format("{} % of {}{}, {} shapes, n >= {}{}", range(low, high), fmt::join(limits, ", "),
                     copy_high > 0 ? fmt::format(" ({} % of copy)", range(copy_low, copy_high)) : "",
                     best.size(), samples, is_older ? k_older_mark : "");
}

/// "the best seed is 0.90-1.20x as fast as torch_compile (5 shapes); the task names flashinfer, compiled": what ran
/// comes first, since what a task names need not have run.
std::string baseline_cell(const Task& task, const DataRoot& data, const MeasuredBaselines& measured) {
  const std::string names = baseline_names(task);
  const auto table = measured.tasks.find(task.name);
  const auto comparison =
      table == measured.tasks.end() ? std::nullopt : compare_with_libraries(table->second);
  if (!comparison) return "not measured; the task names " + names;
  const double low = comparison->speedup_min, high = comparison->speedup_max;
  return fmt::format("the best seed is {:.2f}{}x as fast as {} ({} shapes){}; the task names {}", low,
                     high - low < 0.005 ? "" : fmt::format("-{:.2f}", high),
                     fmt::join(comparison->libraries, ", "), comparison->workloads,
                     is_older(table->second, task, seed_ids(task, data)) ? k_older_mark : "", names);
}

/// Times of seeds beside baselines, for shapes that no other measurement has.
void add_baseline_times(DeviceStatus& status, const std::vector<Task>& tasks, const DataRoot& data,
                        const MeasuredBaselines& measured) {
  for (const Task& task : tasks) {
    const auto table = measured.tasks.find(task.name);
    if (table == measured.tasks.end()) continue;
    TaskStatus& known = status.tasks[task.name];
    if (known.digest.empty()) known.digest = task.digest;
    const SeedIds seeds = seed_ids(task, data);
    for (const LibraryRow& row : table->second.rows) {
      const Workload* workload = task.find_workload(row.workload);
      const LibraryArm* seed = fastest(row, false);
      const bool has_time = std::any_of(known.times.begin(), known.times.end(),
                                        [&](const SeedTime& time) { return time.workload == row.workload; });
      if (!workload || !seed || has_time) continue;
      const RooflineShare share = roofline_share(counts_on(measured.device, task, *workload), measured.device,
                                                 seed->timing.time_us_median);
      known.times.push_back({.workload = row.workload,
                             .seed = seed->name + ".cu",
                             .time_us = seed->timing.time_us_median,
                             .samples = seed->timing.samples,
                             .of_copy = share.of_memory,
                             .of_floor = share.of_floor,
                             .limit = std::string(share.limit),
                             .is_older = is_older(row, task, seeds)});
    }
  }
}

std::string origin(const char* where, const std::optional<DeviceStatus>& status) {
  if (!status) return fmt::format("{}: nothing is kept", where);
  return fmt::format(
      "{}: {}, latest run {}{}", where, status->device, status->date,
      status->copy_gb_per_s > 0
          ? fmt::format(", in which copies ran at {:.0f} GB/s (each row is of its own run's rate)",
                        status->copy_gb_per_s)
          : "");
}

}  // namespace

std::string task_markdown(const std::vector<Task>& tasks, const DataRoot& data) {
  const auto virtual_gpu = find_device_status(data.measured() / "seeds_vgpu.json");
  auto h100 = find_device_status(data.measured() / "seeds_h100.json");
  const MeasuredBaselines baselines = read_measured(data.measured() / "baselines_h100.json");
  if (h100) add_baseline_times(*h100, tasks, data, baselines);
  std::string text = fmt::format(
      "# The tasks\n\n"
      "Written by `kernelites tasks --markdown`; a test says when it is out of date. Controls are wrong "
      "kernels that the\n"
      "gates must reject. The columns on devices come from the files in `docs/measured`: how many seeds "
      "passed every\n"
      "stage, and what share of the roofline's floor the fastest seed reaches over the bench shapes (medians "
      "of n\n"
      "rounds), and beside libraries how many times as long their fastest takes, by medians, as in [their "
      "table](baseline_table.md).\n"
      "{}: the task has changed since, or there a timed seed has or no digest was kept. The virtual GPU "
      "examines at "
      "small\n"
      "shapes. The last column says what was timed, and then which libraries the task's file names, timed or "
      "not "
      "([which\n"
      "were not](baselines.md#which-libraries)).\n\n"
      "- {}\n- {}\n- baselines: {}\n\n"
      "| task | family | operator | source | seeds | controls | vgpu | H100 | share of roofline, H100 | "
      "baselines |\n"
      "|---|---|---|---|---|---|---|---|---|---|\n",
      k_older_mark + 1, origin("vgpu", virtual_gpu), origin("H100", h100),
      baselines.tasks.empty() ? "nothing is kept" : baselines.device.kind + ", latest run " + baselines.date);
  for (const Task& task : tasks) {
    const std::vector<std::string> seeds = seed_files(task, data);
    text += fmt::format("| `{}` | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n", task.name,
                        cell(task.family), cell(task.title), cell(task.source), seed_names(seeds),
                        load_controls(task.folder, seed_folder(task, data)).size(),
                        status_cell(task, seeds, virtual_gpu), status_cell(task, seeds, h100),
                        share_cell(task, h100), baseline_cell(task, data, baselines));
  }
  return text;
}

}  // namespace kernelites
