// SPDX-License-Identifier: Apache-2.0
// Grouping by configuration, and the figures of each group.
#include "tools/run_comparison.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"
#include "tools/inspect/run_reader.h"

namespace kernelites {
namespace {

constexpr int k_curve_points = 10;

/// What runs must share to be comparable, in words.
void check_same(const ComparedRun& first, const ComparedRun& other) {
  const auto check = [&](const std::string& what, const std::string& a, const std::string& b) {
    if (a != b)
      throw ConfigError(other.folder, what,
                        fmt::format("is {}, but {} of {}: figures of the two say nothing about each other", b,
                                    a, first.folder));
  };
  check("task", first.task, other.task);
  check("task digest", first.task_digest.substr(0, 12), other.task_digest.substr(0, 12));
  check("device", first.device, other.device);
  check("times", first.is_modelled ? "modelled" : "measured", other.is_modelled ? "modelled" : "measured");
  check("axes", first.axes, other.axes);
}

std::vector<std::vector<const ComparedRun*>> grouped(const std::vector<ComparedRun>& runs) {
  std::vector<std::vector<const ComparedRun*>> groups;
  for (const ComparedRun& run : runs) {
    const auto found = std::find_if(groups.begin(), groups.end(), [&](const auto& group) {
      return group.front()->configuration == run.configuration;
    });
    if (found == groups.end())
      groups.push_back({&run});
    else
      found->push_back(&run);
  }
  return groups;
}

/// Members of `other` with other values than in `first`; null where `other` has none.
Json differences(const Json& first, const Json& other) {
  Json found = Json::object();
  for (const auto& [key, value] : other.items())
    if (!first.contains(key) || first.at(key) != value) found[key] = value;
  for (const auto& [key, value] : first.items())
    if (!other.contains(key)) found[key] = nullptr;
  return found;
}

template <typename Figure>
std::vector<double> figures(const std::vector<const ComparedRun*>& group, Figure figure) {
  std::vector<double> values;
  for (const ComparedRun* run : group) values.push_back(figure(run->progress));
  return values;
}

GroupPoint group_point(const std::vector<const ComparedRun*>& group, std::int64_t at) {
  const auto mean = [&](double ProgressPoint::*figure) {
    return bootstrap_mean(
        figures(group, [&](const auto& progress) { return point_at(progress, at).*figure; }));
  };
  return {.evaluations = at,
          .best = mean(&ProgressPoint::best),
          .qd_score = mean(&ProgressPoint::qd_score),
          .coverage = mean(&ProgressPoint::coverage)};
}

std::vector<double> areas(const std::vector<const ComparedRun*>& group, double ProgressPoint::*figure,
                          std::int64_t last) {
  return figures(group, [&](const auto& progress) { return mean_over(progress, figure, last); });
}

ComparedGroup compared_group(const std::vector<const ComparedRun*>& group,
                             const std::vector<const ComparedRun*>& first, std::int64_t last) {
  ComparedGroup compared;
  for (const ComparedRun* run : group) compared.runs.push_back(run->folder);
  compared.differences = differences(first.front()->configuration, group.front()->configuration);
  compared.end = group_point(group, last);
  const std::vector<double> best = areas(group, &ProgressPoint::best, last);
  const std::vector<double> qd = areas(group, &ProgressPoint::qd_score, last);
  compared.best_area = bootstrap_mean(best);
  compared.qd_area = bootstrap_mean(qd);
  compared.best_area_ratio = compared.qd_area_ratio = {.value = 1, .low = {}, .high = {}};
  if (group != first) {
    compared.best_area_ratio = bootstrap_ratio_of_means(best, areas(first, &ProgressPoint::best, last));
    compared.qd_area_ratio = bootstrap_ratio_of_means(qd, areas(first, &ProgressPoint::qd_score, last));
  }
  std::int64_t before = -1;
  for (int i = 0; i <= k_curve_points; ++i) {
    const std::int64_t at = last * i / k_curve_points;
    if (at != before) compared.curve.push_back(group_point(group, at));
    before = at;
  }
  return compared;
}

Json point_json(const GroupPoint& point) {
  return {{"evaluations", point.evaluations},
          {"best", point.best},
          {"qd_score", point.qd_score},
          {"coverage", point.coverage}};
}

}  // namespace

ComparedRun compared_run(const std::string& folder) {
  const RunReader reader = read_run(folder);
  const RunRecord record = reader.archive.run();
  ComparedRun run{.folder = folder,
                  .task = record.task,
                  .task_digest = record.task_digest,
                  .device = reader.device.kind,
                  .is_modelled = reader.device.is_virtual,
                  .configuration = record.configuration,
                  .progress = progress_of(reader.archive)};
  for (const char* own : {"seed", "budget"}) run.configuration.erase(own);
  for (const Axis& axis : reader.archive.axes())
    run.axes += fmt::format("{}{}", run.axes.empty() ? "" : "/", axis.name);
  if (run.progress.size() < 2) throw ConfigError(folder, "", "holds no told candidate beyond the seeds");
  return run;
}

Comparison compare_runs(const std::vector<ComparedRun>& runs, std::int64_t at) {
  if (runs.empty()) throw ConfigError("compare", "RUN", "names no run");
  Comparison comparison{.evaluations = runs.front().progress.back().evaluations, .groups = {}};
  for (const ComparedRun& run : runs) {
    check_same(runs.front(), run);
    comparison.evaluations = std::min(comparison.evaluations, run.progress.back().evaluations);
  }
  if (comparison.evaluations < 1)
    throw ConfigError("compare", "RUN", "a run holds no candidate beyond the seeds");
  if (at > comparison.evaluations)
    throw ConfigError("--at", fmt::to_string(at),
                      fmt::format("the shortest of the runs has {} evaluations", comparison.evaluations));
  if (at > 0) comparison.evaluations = at;
  const auto groups = grouped(runs);
  for (const auto& group : groups) {
    comparison.groups.push_back(compared_group(group, groups.front(), comparison.evaluations));
    const std::size_t index = comparison.groups.size() - 1;
    comparison.groups.back().name =
        index < 26 ? std::string(1, static_cast<char>('A' + index)) : fmt::format("G{}", index + 1);
  }
  return comparison;
}

void to_json(Json& json, const Interval& interval) {
  json = {{"value", interval.value}, {"low", nullptr}, {"high", nullptr}};
  if (interval.low) json["low"] = *interval.low;
  if (interval.high) json["high"] = *interval.high;
}

void to_json(Json& json, const Comparison& comparison) {
  json = {{"evaluations", comparison.evaluations},
          {"confidence", k_interval_confidence},
          {"resamples", k_resamples},
          {"groups", Json::array()}};
  for (const ComparedGroup& group : comparison.groups) {
    Json row{{"name", group.name},
             {"runs", group.runs},
             {"n", group.runs.size()},
             {"differences", group.differences},
             {"end", point_json(group.end)},
             {"best_area", group.best_area},
             {"qd_area", group.qd_area},
             {"best_area_ratio", group.best_area_ratio},
             {"qd_area_ratio", group.qd_area_ratio},
             {"curve", Json::array()}};
    for (const GroupPoint& point : group.curve) row["curve"].push_back(point_json(point));
    json["groups"].push_back(std::move(row));
  }
}

}  // namespace kernelites
