// SPDX-License-Identifier: Apache-2.0
// Grouping by configuration, and the figures of each group.
#include "tools/run_comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "tools/inspect/elite_facts.h"
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

Basis basis_of(const ComparedRun& first, const ComparedRun& run) {
  if (run.baseline.code == first.baseline.code) return Basis::same;
  const bool has_common_times =
      run.is_modelled && run.harness_version == first.harness_version && run.model_key == first.model_key;
  return has_common_times && ratio_by_times(run.baseline, first.baseline, first.weights) ? Basis::model
                                                                                         : Basis::none;
}

/// The figures of `run` over the baseline of `first`.
void rebase(const ComparedRun& first, ComparedRun& run) {
  const double factor = *ratio_by_times(first.baseline, run.baseline, first.weights);
  for (ProgressPoint& point : run.progress) {
    point.best *= factor;
    point.qd_score *= factor;
  }
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
  double best_of_all = -1;
  for (const ComparedRun* run : group) {
    compared.runs.push_back(run->folder);
    compared.baselines.push_back(run->baseline);
    compared.basis = std::max(compared.basis, basis_of(*first.front(), *run));
    if (run->progress.back().best <= best_of_all) continue;
    best_of_all = run->progress.back().best;
    compared.best = run->best;
    compared.best_run = run->folder;
  }
  compared.differences = differences(first.front()->configuration, group.front()->configuration);
  compared.end = group_point(group, last);
  const std::vector<double> best = areas(group, &ProgressPoint::best, last);
  const std::vector<double> qd = areas(group, &ProgressPoint::qd_score, last);
  compared.best_area = bootstrap_mean(best);
  compared.qd_area = bootstrap_mean(qd);
  if (group == first) {
    compared.best_area_ratio = compared.qd_area_ratio = Interval{.value = 1, .low = {}, .high = {}};
  } else if (compared.basis != Basis::none) {
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

Json kernel_json(const ComparedKernel& kernel) {
  return {{"ordinal", kernel.ordinal},
          {"summary", kernel.summary},
          {"code", kernel.code},
          {"is_by_counts", kernel.is_by_counts},
          {"time_us", kernel.time_us}};
}

Json optional_json(const std::optional<Interval>& interval) { return interval ? Json(*interval) : Json(); }

ComparedKernel compared_kernel(const RunReader& reader, std::uint64_t ordinal) {
  ComparedKernel kernel{.ordinal = ordinal};
  const auto evaluated = reader.archive.evaluated(ordinal);
  if (!evaluated) return kernel;
  kernel.summary = evaluated->record.summary;
  if (!evaluated->examination || !evaluated->examination->examination) return kernel;
  const Examination& examination = *evaluated->examination->examination;
  if (examination.code_digest.empty()) return kernel;
  const Json json(examination);
  if (!examination.machine_code.empty()) {
    kernel.code = digest_parts({examination.machine_code, json.at("plans").dump()});
    return kernel;
  }
  kernel.is_by_counts = true;
  // `code_digest` holds launches at shapes that every run draws for itself: it serves where nothing else is known.
  kernel.code =
      examination.counts.sass.empty()
          ? examination.code_digest
          : digest_parts({json.at("counts").dump(), json.at("kernels").dump(), json.at("plans").dump()});
  return kernel;
}

/// Baseline and best, with their times.
void add_kernels(const RunReader& reader, ComparedRun& run) {
  const Grid grid = reader.archive.grid();
  const auto best = grid.best();
  const auto baseline = reader.archive.find_candidate(reader.baseline_id);
  if (!best || !baseline) return;
  run.best = compared_kernel(reader, best->ordinal);
  run.baseline = compared_kernel(reader, baseline->ordinal);
  for (const WorkloadTime& time : elite_facts(reader, best->ordinal, &*best).times) {
    run.best.time_us[time.workload] = time.own.time_us_median;
    if (best->ordinal == baseline->ordinal)
      run.baseline.time_us[time.workload] = time.own.time_us_median;
    else if (time.baseline)
      run.baseline.time_us[time.workload] = time.baseline->time_us_median;
  }
}

}  // namespace

const char* basis_name(Basis basis) {
  constexpr const char* k_names[] = {"same", "model", "none"};
  return k_names[static_cast<int>(basis)];
}

bool is_one_kernel(const ComparedKernel& a, const ComparedKernel& b) {
  return !a.code.empty() && a.code == b.code;
}

std::optional<double> ratio_by_times(const ComparedKernel& a, const ComparedKernel& b,
                                     const std::map<std::string, double>& weights) {
  double sum = 0, weight_sum = 0;
  for (const auto& [workload, weight] : weights) {
    const auto time_a = a.time_us.find(workload), time_b = b.time_us.find(workload);
    if (time_a == a.time_us.end() || time_b == b.time_us.end()) return std::nullopt;
    sum += weight * std::log(time_a->second / time_b->second);
    weight_sum += weight;
  }
  if (weight_sum <= 0) return std::nullopt;
  return std::exp(sum / weight_sum);
}

ComparedRun compared_run(const std::string& folder) {
  const RunReader reader = read_run(folder);
  const RunRecord record = reader.archive.run();
  ComparedRun run{.folder = folder,
                  .task = record.task,
                  .task_digest = record.task_digest,
                  .device = reader.device.kind,
                  .is_modelled = reader.device.is_virtual,
                  .configuration = record.configuration,
                  .model_key = record.model_key,
                  .weights = reader.weights,
                  .progress = progress_of(reader.archive)};
  if (const auto provenance = reader.archive.first_provenance())
    run.harness_version = provenance->harness_version;
  add_kernels(reader, run);
  for (const char* own : {"seed", "budget"}) run.configuration.erase(own);
  for (const Axis& axis : reader.archive.axes())
    run.axes += fmt::format("{}{}", run.axes.empty() ? "" : "/", axis.name);
  if (run.progress.size() < 2) throw ConfigError(folder, "", "holds no told candidate beyond the seeds");
  return run;
}

Comparison compare_runs(std::vector<ComparedRun> runs, std::int64_t at) {
  if (runs.empty()) throw ConfigError("compare", "RUN", "names no run");
  Comparison comparison{.evaluations = runs.front().progress.back().evaluations,
                        .is_modelled = runs.front().is_modelled,
                        .groups = {}};
  for (ComparedRun& run : runs) {
    check_same(runs.front(), run);
    comparison.evaluations = std::min(comparison.evaluations, run.progress.back().evaluations);
    comparison.has_one_harness =
        comparison.has_one_harness && run.harness_version == runs.front().harness_version;
    comparison.has_one_model_key = comparison.has_one_model_key && run.model_key == runs.front().model_key;
    if (basis_of(runs.front(), run) == Basis::model) rebase(runs.front(), run);
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
          {"has_one_harness", comparison.has_one_harness},
          {"has_one_model_key", comparison.has_one_model_key},
          {"groups", Json::array()}};
  for (const ComparedGroup& group : comparison.groups) {
    Json row{{"name", group.name},
             {"runs", group.runs},
             {"n", group.runs.size()},
             {"differences", group.differences},
             {"basis", basis_name(group.basis)},
             {"baselines", Json::array()},
             {"best_kernel", kernel_json(group.best)},
             {"best_run", group.best_run},
             {"is_best_of_first", is_one_kernel(group.best, comparison.groups.front().best)},
             {"end", point_json(group.end)},
             {"best_area", group.best_area},
             {"qd_area", group.qd_area},
             {"best_area_ratio", optional_json(group.best_area_ratio)},
             {"qd_area_ratio", optional_json(group.qd_area_ratio)},
             {"curve", Json::array()}};
    for (const ComparedKernel& baseline : group.baselines) row["baselines"].push_back(kernel_json(baseline));
    for (const GroupPoint& point : group.curve) row["curve"].push_back(point_json(point));
    json["groups"].push_back(std::move(row));
  }
}

}  // namespace kernelites
