// SPDX-License-Identifier: Apache-2.0
// Grouping by configuration, and the figures of each group.
#include "tools/run_comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"

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
  if (run.baseline.code == first.baseline.code || is_one_kernel(run.baseline, first.baseline))
    return Basis::same;
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

/// Whether the shorter one's steps are the other's first ones.
bool is_same_way(const ComparedRun& a, const ComparedRun& b) {
  const auto& [few, many] =
      std::minmax(a.told, b.told, [](const auto& x, const auto& y) { return x.size() < y.size(); });
  return a.seed == b.seed && a.configuration == b.configuration && !few.empty() &&
         std::equal(few.begin(), few.end(), many.begin());
}

/// Leaves one of those that did the same steps: the longer one, in the place of the first.
std::vector<RepeatedRun> take_repeats(std::vector<ComparedRun>& runs) {
  std::vector<RepeatedRun> repeats;
  std::vector<ComparedRun> kept;
  for (ComparedRun& run : runs) {
    const auto known = std::find_if(kept.begin(), kept.end(),
                                    [&](const ComparedRun& other) { return is_same_way(other, run); });
    if (known == kept.end()) {
      kept.push_back(std::move(run));
      continue;
    }
    if (run.told.size() > known->told.size()) std::swap(run, *known);
    for (RepeatedRun& repeated : repeats)
      if (repeated.of == run.folder) repeated.of = known->folder;
    repeats.push_back({.folder = run.folder,
                       .of = known->folder,
                       .is_copy = run.started_unix_s > 0 && run.started_unix_s == known->started_unix_s});
  }
  runs = std::move(kept);
  return repeats;
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

/// The best kernel after `evaluations`.
const ComparedKernel& best_at(const ComparedRun& run, std::int64_t evaluations) {
  if (run.progress.back().evaluations <= evaluations) return run.best;
  const auto next = std::find_if(run.leads.begin(), run.leads.end(),
                                 [&](const Lead& lead) { return lead.evaluations > evaluations; });
  return next == run.leads.begin() ? run.best : std::prev(next)->kernel;
}

/// The best kernels of the group, at the last common evaluation and beyond.
void add_best(const std::vector<const ComparedRun*>& group, std::int64_t last, ComparedGroup& compared) {
  double best = -1, later = 0;
  for (const ComparedRun* run : group) {
    const double at_last = point_at(run->progress, last).best, at_end = run->progress.back().best;
    if (at_last > best) {
      best = at_last;
      compared.best = best_at(*run, last);
      compared.best_run = run->folder;
    }
    if (at_end <= std::max(at_last, later)) continue;
    later = at_end;
    compared.later = LaterBest{
        .run = run->folder,
        .evaluations = run->leads.empty() ? run->progress.back().evaluations : run->leads.back().evaluations,
        .best = at_end,
        .kernel = run->best};
  }
  if (later <= best) compared.later.reset();
}

ComparedGroup compared_group(const std::vector<const ComparedRun*>& group,
                             const std::vector<const ComparedRun*>& first, std::int64_t last) {
  ComparedGroup compared;
  for (const ComparedRun* run : group) {
    compared.runs.push_back(run->folder);
    compared.lengths.push_back({.folder = run->folder,
                                .seed = run->seed,
                                .evaluations = run->progress.back().evaluations,
                                .end = run->end});
    compared.baselines.push_back(run->baseline);
    compared.basis = std::max(compared.basis, basis_of(*first.front(), *run));
  }
  add_best(group, last, compared);
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
  return {{"ordinal", kernel.ordinal},           {"id", kernel.id},
          {"summary", kernel.summary},           {"code", kernel.code},
          {"is_by_counts", kernel.is_by_counts}, {"time_us", kernel.time_us}};
}

Json optional_json(const std::optional<Interval>& interval) { return interval ? Json(*interval) : Json(); }

}  // namespace

const char* basis_name(Basis basis) {
  constexpr const char* k_names[] = {"same", "model", "none"};
  return k_names[static_cast<int>(basis)];
}

bool is_one_kernel(const ComparedKernel& a, const ComparedKernel& b) {
  return (!a.code.empty() && a.code == b.code) || (!a.id.empty() && a.id == b.id);
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

Comparison compare_runs(std::vector<ComparedRun> runs, std::int64_t at) {
  if (runs.empty()) throw ConfigError("compare", "RUN", "names no run");
  for (const ComparedRun& run : runs) check_same(runs.front(), run);
  std::vector<RepeatedRun> repeats = take_repeats(runs);
  Comparison comparison{.evaluations = runs.front().progress.back().evaluations,
                        .is_modelled = runs.front().is_modelled,
                        .repeats = std::move(repeats),
                        .groups = {}};
  for (ComparedRun& run : runs) {
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
          {"repeats", Json::array()},
          {"groups", Json::array()}};
  for (const RepeatedRun& repeated : comparison.repeats)
    json["repeats"].push_back({{"run", repeated.folder}, {"of", repeated.of}, {"is_copy", repeated.is_copy}});
  for (const ComparedGroup& group : comparison.groups) {
    Json row{{"name", group.name},
             {"runs", group.runs},
             {"n", group.runs.size()},
             {"differences", group.differences},
             {"basis", basis_name(group.basis)},
             {"baselines", Json::array()},
             {"best_kernel", kernel_json(group.best)},
             {"best_run", group.best_run},
             {"later_best", nullptr},
             {"lengths", Json::array()},
             {"is_best_of_first", is_one_kernel(group.best, comparison.groups.front().best)},
             {"end", point_json(group.end)},
             {"best_area", group.best_area},
             {"qd_area", group.qd_area},
             {"best_area_ratio", optional_json(group.best_area_ratio)},
             {"qd_area_ratio", optional_json(group.qd_area_ratio)},
             {"curve", Json::array()}};
    if (group.later)
      row["later_best"] = {{"run", group.later->run},
                           {"evaluations", group.later->evaluations},
                           {"best", group.later->best},
                           {"kernel", kernel_json(group.later->kernel)}};
    for (const RunLength& length : group.lengths)
      row["lengths"].push_back({{"run", length.folder},
                                {"seed", length.seed},
                                {"evaluations", length.evaluations},
                                {"end", length.end}});
    for (const ComparedKernel& baseline : group.baselines) row["baselines"].push_back(kernel_json(baseline));
    for (const GroupPoint& point : group.curve) row["curve"].push_back(point_json(point));
    json["groups"].push_back(std::move(row));
  }
}

}  // namespace kernelites
