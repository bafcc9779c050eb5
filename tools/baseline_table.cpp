// SPDX-License-Identifier: Apache-2.0
// Paired comparison of a library's arms with the fastest candidate of the same rounds.
#include "tools/baseline_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/core/candidate.h"
#include "engine/core/error.h"
#include "engine/core/roofline.h"
#include "engine/core/statistics.h"

namespace kernelites {
namespace {

using Samples = std::map<std::string, std::vector<double>>;

/// What is wrong with an arm's outputs; empty: nothing.
std::string disagreement(const Json& shares) {
  for (const auto& [output, share] : shares.items()) {
    const double value = real_from_json(share);
    if (!(value <= k_agreement_max))
      return fmt::format("its output '{}' lies at {:.3g} times twice the gates from the first candidate's",
                         output, value);
  }
  return "";
}

/// The candidate with the least median; empty if there is none.
std::string fastest_candidate(const Samples& samples, const std::vector<std::string>& baselines) {
  std::string best;
  for (const auto& [name, time_us] : samples) {
    if (std::find(baselines.begin(), baselines.end(), name) != baselines.end()) continue;
    if (best.empty() || median(time_us) < median(samples.at(best))) best = name;
  }
  return best;
}

void add_result(const Json& result, LibraryRow& row) {
  if (const auto error = result.value("error", std::string()); !error.empty()) {
    row.missing["all arms"] = error;
    return;
  }
  for (const auto& [arm, why] : result.at("unavailable").items()) row.missing[arm] = why.get<std::string>();
  auto samples = result.at("times_us").get<Samples>();
  for (const auto& [arm, shares] : result.at("agreement").items()) {
    std::string words = disagreement(shares);
    if (words.empty()) continue;
    row.missing[arm] = std::move(words);
    samples.erase(arm);
  }
  const auto baselines = result.at("baselines").get<std::vector<std::string>>();
  const std::string best = fastest_candidate(samples, baselines);
  if (best.empty()) return;
  const Json digests = result.value("digests", Json::object());
  const std::string task_digest = digests.value("task", std::string());
  // Parts that tell of different tasks tell of no task.
  row.task_digest = row.arms.empty() || row.task_digest == task_digest ? task_digest : "";
  const Json candidates = digests.value("arms", Json::object());
  for (const auto& [name, time_us] : samples) {
    const bool is_baseline = std::find(baselines.begin(), baselines.end(), name) != baselines.end();
    const bool is_known = std::any_of(row.arms.begin(), row.arms.end(),
                                      [&](const LibraryArm& arm) { return arm.name == name; });
    if (is_known) continue;
    row.arms.push_back({.name = name,
                        .is_baseline = is_baseline,
                        .timing = summarise(time_us, false),
                        .candidate = candidates.value(name, std::string()),
                        .speedup = bootstrap_ratio_of_medians(samples.at(best), time_us)});
  }
}

bool is_of_task(const Json& result, const Task& task) {
  const auto id = result.at("id").get<std::string>();
  return id == task.name || id.starts_with(task.name + "/");
}

std::string speedup_words(const Interval& speedup) {
  if (!speedup.low) return fmt::format("{:.3f}", speedup.value);
  return fmt::format("{:.3f} [{:.3f}, {:.3f}]", speedup.value, *speedup.low, *speedup.high);
}

/// The fastest of both kinds first, for who wants no more; then everything.
Json row_json(const LibraryRow& row) {
  Json json = Json::object();
  const LibraryArm* const library = fastest(row, true);
  const LibraryArm* const seed = fastest(row, false);
  if (library && seed)
    json = {{"baseline", library->name},
            {"baseline_us", library->timing.time_us_median},
            {"seed", seed->name + ".cu"},
            {"seed_us", seed->timing.time_us_median},
            {"samples", seed->timing.samples}};
  if (!row.task_digest.empty()) json["task_digest"] = row.task_digest;
  json["arms"] = Json::array();
  for (const LibraryArm& arm : row.arms) {
    Json& item = json["arms"].emplace_back(
        Json{{"name", arm.name}, {"is_baseline", arm.is_baseline}, {"timing", arm.timing}});
    if (!arm.candidate.empty()) item["candidate"] = arm.candidate;
    item["speedup"] = arm.speedup.value;
    if (arm.speedup.low) item["interval"] = {*arm.speedup.low, *arm.speedup.high};
  }
  json["missing"] = row.missing;
  return json;
}

LibraryRow row_of(const std::string& workload, const Json& json) {
  LibraryRow row{.workload = workload};
  json.at("missing").get_to(row.missing);
  row.task_digest = json.value("task_digest", std::string());
  for (const Json& item : json.at("arms"))
    row.arms.push_back({.name = item.at("name"),
                        .is_baseline = item.at("is_baseline"),
                        .timing = item.at("timing"),
                        .candidate = item.value("candidate", std::string())});
  const LibraryArm* const best = fastest(row, false);
  for (std::size_t i = 0; i < row.arms.size(); ++i) {
    const Json& item = json.at("arms").at(i);
    Interval& speedup = row.arms[i].speedup;
    if (item.at("speedup").is_number())
      item.at("speedup").get_to(speedup.value);
    else if (best)  // kept by another estimator, with an interval of its own
      speedup.value = best->timing.time_us_median / row.arms[i].timing.time_us_median;
    if (!item.contains("interval")) continue;
    speedup.low = item.at("interval").at(0).get<double>();
    speedup.high = item.at("interval").at(1).get<double>();
  }
  return row;
}

}  // namespace

BaselineTable baseline_table(const Task& task, const std::vector<Json>& results) {
  BaselineTable table{.task = task.name};
  try {
    for (const Workload& workload : task.bench) {
      LibraryRow row{.workload = workload.name};
      bool is_measured = false;
      for (const Json& result : results) {
        if (!is_of_task(result, task) || result.at("workload") != workload.name) continue;
        is_measured = true;
        if (result.contains("device") && !result.at("device").empty())
          result.at("device").get_to(table.device);
        table.date = result.value("date", table.date);
        table.torch = result.value("torch", table.torch);
        add_result(result, row);
      }
      std::stable_sort(row.arms.begin(), row.arms.end(), [](const LibraryArm& a, const LibraryArm& b) {
        return std::pair(a.is_baseline, a.timing.time_us_median) <
               std::pair(b.is_baseline, b.timing.time_us_median);
      });
      if (is_measured) table.rows.push_back(std::move(row));
    }
  } catch (const Json::exception& error) {
    throw Error(fmt::format("a result of baselines is not as expected: {}", error.what()));
  }
  return table;
}

const LibraryArm* fastest(const LibraryRow& row, bool is_baseline) {
  const LibraryArm* best = nullptr;
  for (const LibraryArm& arm : row.arms) {
    if (arm.is_baseline == is_baseline && (!best || arm.timing.time_us_median < best->timing.time_us_median))
      best = &arm;
  }
  return best;
}

std::optional<double> speedup_over_libraries(const LibraryRow& row) {
  const LibraryArm* const library = fastest(row, true);
  const LibraryArm* const seed = fastest(row, false);
  if (!library || !seed) return std::nullopt;
  return 1 / library->speedup.value;
}

SeedIds seed_ids(const std::vector<Seed>& seeds) {
  SeedIds ids;
  for (const Seed& seed : seeds)
    ids[std::filesystem::path(seed.name).stem().string()] = candidate_id(seed.candidate);
  return ids;
}

SeedIds seed_ids(const Task& task, const DataRoot& data) {
  try {
    return seed_ids(find_seeds(task, data));
  } catch (const ConfigError&) {
    return {};
  }
}

bool is_older(const LibraryRow& row, const Task& task, const SeedIds& seeds) {
  if (row.task_digest != task.digest) return true;
  return std::any_of(row.arms.begin(), row.arms.end(), [&](const LibraryArm& arm) {
    if (arm.is_baseline) return false;
    const auto seed = seeds.find(arm.name);
    return seed == seeds.end() || seed->second != arm.candidate;
  });
}

bool is_older(const BaselineTable& table, const Task& task, const SeedIds& seeds) {
  return std::any_of(table.rows.begin(), table.rows.end(),
                     [&](const LibraryRow& row) { return is_older(row, task, seeds); });
}

std::optional<LibraryComparison> compare_with_libraries(const BaselineTable& table) {
  LibraryComparison comparison;
  double sum = 0;
  for (const LibraryRow& row : table.rows) {
    const auto speedup = speedup_over_libraries(row);
    if (!speedup) continue;
    if (comparison.workloads++ == 0) comparison.speedup_min = comparison.speedup_max = *speedup;
    comparison.speedup_min = std::min(comparison.speedup_min, *speedup);
    comparison.speedup_max = std::max(comparison.speedup_max, *speedup);
    sum += std::log(*speedup);
    std::vector<std::string>& names = comparison.libraries;
    const std::string& library = fastest(row, true)->name;
    if (std::find(names.begin(), names.end(), library) == names.end()) names.push_back(library);
  }
  if (comparison.workloads == 0) return std::nullopt;
  comparison.speedup = std::exp(sum / comparison.workloads);
  return comparison;
}

void to_json(Json& json, const MeasuredBaselines& measured) {
  json = {{"device", measured.device.kind},
          {"device_facts", measured.device},
          {"date", measured.date},
          {"torch", measured.torch},
          {"tasks", Json::object()}};
  for (const auto& [task, table] : measured.tasks) {
    Json& entry = json["tasks"][task];
    for (const LibraryRow& row : table.rows) entry[row.workload] = row_json(row);
  }
}

void from_json(const Json& json, MeasuredBaselines& measured) {
  json.at("device_facts").get_to(measured.device);
  json.at("date").get_to(measured.date);
  json.at("torch").get_to(measured.torch);
  for (const auto& [task, entry] : json.at("tasks").items()) {
    BaselineTable table{
        .task = task, .date = measured.date, .torch = measured.torch, .device = measured.device};
    for (const auto& [workload, row] : entry.items()) table.rows.push_back(row_of(workload, row));
    measured.tasks[task] = std::move(table);
  }
}

MeasuredBaselines read_measured(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return {};
  try {
    return read_json(file).get<MeasuredBaselines>();
  } catch (const Json::exception& error) {
    throw ConfigError(file.string(), "", error.what());
  }
}

std::vector<std::filesystem::path> measured_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none))
    if (entry.path().filename().string().starts_with("baselines_")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

void record(MeasuredBaselines& measured, const BaselineTable& table) {
  if (!measured.tasks.empty() && measured.device.kind != table.device.kind)
    throw Error(fmt::format("the file holds figures of {}, these are of {}", measured.device.kind,
                            table.device.kind));
  measured.device = table.device;
  measured.date = table.date;
  measured.torch = table.torch;
  measured.tasks[table.task] = table;
}

std::vector<std::vector<std::string>> baseline_cells(const Task& task, const BaselineTable& table) {
  std::vector<std::vector<std::string>> cells{{"workload", "arm", "time us", "p10", "p90", "n", "GB/s",
                                               "TFLOP/s", "% of floor", "limit", "x vs best seed"}};
  for (const LibraryRow& row : table.rows) {
    const Workload* const workload = task.find_workload(row.workload);
    const LibraryArm* const best = fastest(row, false);
    for (const LibraryArm& arm : row.arms) {
      const RooflineShare share = workload ? roofline_share(counts_on(table.device, task, *workload),
                                                            table.device, arm.timing.time_us_median)
                                           : RooflineShare{};
      cells.push_back({row.workload, arm.is_baseline ? arm.name + " (library)" : arm.name,
                       fmt::format("{:.2f}", arm.timing.time_us_median),
                       fmt::format("{:.2f}", arm.timing.time_us_p10),
                       fmt::format("{:.2f}", arm.timing.time_us_p90), fmt::to_string(arm.timing.samples),
                       fmt::format("{:.0f}", share.gb_per_s), fmt::format("{:.1f}", share.tflop_per_s),
                       share.of_floor > 0 ? fmt::format("{:.1f}", 100 * share.of_floor) : "?",
                       std::string(share.limit), &arm == best ? "1" : speedup_words(arm.speedup)});
    }
  }
  return cells;
}

std::vector<std::string> missing_arms(const BaselineTable& table) {
  std::vector<std::string> lines;
  for (const LibraryRow& row : table.rows)
    for (const auto& [arm, why] : row.missing)
      lines.push_back(fmt::format("{}: {}: {}", row.workload, arm, why));
  return lines;
}

}  // namespace kernelites
