// SPDX-License-Identifier: Apache-2.0
// Paired comparison of a library's arms with the fastest candidate of the same rounds.
#include "tools/baseline_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"
#include "engine/core/paired_ratio.h"
#include "engine/core/roofline.h"
#include "engine/core/statistics.h"

namespace kernelites {
namespace {

constexpr double k_confidence = 0.95;

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

LibraryArm compared(const std::string& name, bool is_baseline, const std::vector<double>& time_us,
                    const std::vector<double>& best_us) {
  LibraryArm arm{.name = name, .is_baseline = is_baseline, .timing = summarise(time_us, false)};
  const PairedRatio ratio = paired_ratio(best_us, time_us, k_confidence);
  arm.speedup = std::exp(ratio.log_ratio_median);
  arm.speedup_low = std::exp(ratio.log_ratio_low);
  arm.speedup_high = std::exp(ratio.log_ratio_high);
  return arm;
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
  for (const auto& [name, time_us] : samples) {
    const bool is_baseline = std::find(baselines.begin(), baselines.end(), name) != baselines.end();
    const bool is_known = std::any_of(row.arms.begin(), row.arms.end(),
                                      [&](const LibraryArm& arm) { return arm.name == name; });
    if (!is_known) row.arms.push_back(compared(name, is_baseline, time_us, samples.at(best)));
  }
}

bool is_of_task(const Json& result, const Task& task) {
  const auto id = result.at("id").get<std::string>();
  return id == task.name || id.starts_with(task.name + "/");
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
  json["arms"] = Json::array();
  for (const LibraryArm& arm : row.arms)
    json["arms"].push_back({{"name", arm.name},
                            {"is_baseline", arm.is_baseline},
                            {"timing", arm.timing},
                            {"speedup", {arm.speedup, arm.speedup_low, arm.speedup_high}}});
  json["missing"] = row.missing;
  return json;
}

LibraryRow row_of(const std::string& workload, const Json& json) {
  LibraryRow row{.workload = workload};
  json.at("missing").get_to(row.missing);
  for (const Json& item : json.at("arms")) {
    const Json& speedup = item.at("speedup");
    row.arms.push_back({.name = item.at("name"),
                        .is_baseline = item.at("is_baseline"),
                        .timing = item.at("timing"),
                        .speedup = speedup.at(0),
                        .speedup_low = speedup.at(1),
                        .speedup_high = speedup.at(2)});
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

std::optional<LibraryComparison> compare_with_libraries(const BaselineTable& table) {
  LibraryComparison comparison;
  double sum = 0;
  for (const LibraryRow& row : table.rows) {
    const LibraryArm* const library = fastest(row, true);
    if (!library || !fastest(row, false)) continue;
    const double speedup = 1 / library->speedup;
    if (comparison.workloads++ == 0) comparison.speedup_min = comparison.speedup_max = speedup;
    comparison.speedup_min = std::min(comparison.speedup_min, speedup);
    comparison.speedup_max = std::max(comparison.speedup_max, speedup);
    sum += std::log(speedup);
    std::vector<std::string>& names = comparison.libraries;
    if (std::find(names.begin(), names.end(), library->name) == names.end()) names.push_back(library->name);
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
      cells.push_back(
          {row.workload, arm.is_baseline ? arm.name + " (library)" : arm.name,
           fmt::format("{:.2f}", arm.timing.time_us_median), fmt::format("{:.2f}", arm.timing.time_us_p10),
           fmt::format("{:.2f}", arm.timing.time_us_p90), fmt::to_string(arm.timing.samples),
           fmt::format("{:.0f}", share.gb_per_s), fmt::format("{:.1f}", share.tflop_per_s),
           share.of_floor > 0 ? fmt::format("{:.1f}", 100 * share.of_floor) : "?", std::string(share.limit),
           &arm == best
               ? "1"
               : fmt::format("{:.3f} [{:.3f}, {:.3f}]", arm.speedup, arm.speedup_low, arm.speedup_high)});
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
