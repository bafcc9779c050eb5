// SPDX-License-Identifier: Apache-2.0
// From champions and duels to arms with comparable times.
#include "tools/exporting/portfolio.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/core/error.h"
#include "engine/search/baseline.h"
#include "engine/search/placement.h"
#include "tools/inspect/model_error.h"

namespace kernelites {
namespace {

/// Newest first: a confirmation did not select the candidate, so its figure is the better one.
std::map<std::string, ArmTime> times_of(const Archive& archive, const Task& task, std::uint64_t ordinal,
                                        const std::string& baseline_id) {
  std::map<std::string, ArmTime> times;
  const std::vector<EvaluationRecord> evaluations = archive.evaluations(ordinal);
  for (auto record = evaluations.rbegin(); record != evaluations.rend(); ++record) {
    if (record->state != "answered" || !record->duel || !record->duel->verdict.is_passed) continue;
    const Duel& duel = *record->duel;
    for (const Workload& workload : task.bench) {
      const auto timing = duel.timing.find(workload.name);
      if (times.contains(workload.name) || timing == duel.timing.end() || timing->second.empty()) continue;
      const double speedup = speedup_over(duel, baseline_id, {{workload.name, 1.0}});
      if (speedup > 0)
        times[workload.name] = {
            .timing = timing->second.front(), .speedup = speedup, .duel_id = record->request_id};
    }
  }
  return times;
}

double mean_speedup(const std::map<std::string, ArmTime>& times,
                    const std::map<std::string, double>& weights) {
  double sum = 0, weight_sum = 0;
  for (const auto& [workload, weight] : weights) {
    const auto found = times.find(workload);
    if (found == times.end()) return 0;
    sum += weight * std::log(found->second.speedup);
    weight_sum += weight;
  }
  return weight_sum > 0 ? std::exp(sum / weight_sum) : 0;
}

/// Nothing if the candidate is not proven and timed.
std::optional<PortfolioArm> arm_of(const Archive& archive, const Task& task, std::uint64_t ordinal,
                                   const std::string& baseline_id) {
  const auto evaluated = archive.evaluated(ordinal);
  if (!evaluated || !evaluated->examination || !evaluated->examination->examination) return std::nullopt;
  if (!evaluated->examination->examination->verdict.is_passed) return std::nullopt;
  const CandidateRecord& record = evaluated->record;
  PortfolioArm arm{.label = {},
                   .ordinal = ordinal,
                   .candidate_id = candidate_id(record.candidate),
                   .candidate = record.candidate,
                   .summary = record.summary,
                   .lineage = {},
                   .examination = *evaluated->examination->examination,
                   .provenance = evaluated->examination->provenance,
                   .times = times_of(archive, task, ordinal, baseline_id),
                   .champion_of = {}};
  if (arm.times.empty()) return std::nullopt;
  for (const CandidateRecord& step : archive.lineage(ordinal))
    arm.lineage.push_back({.ordinal = step.ordinal,
                           .candidate_id = step.id,
                           .operator_name = step.operator_name,
                           .endpoint = step.endpoint,
                           .summary = step.summary});
  return arm;
}

/// What the baseline takes at a workload: the median over the arms' duels, in each of which it took part.
double baseline_us(const std::vector<PortfolioArm>& arms, const std::string& workload) {
  std::vector<double> times;
  for (const PortfolioArm& arm : arms) {
    const auto found = arm.times.find(workload);
    if (found != arm.times.end())
      times.push_back(found->second.timing.time_us_median * found->second.speedup);
  }
  if (times.empty()) return 0;
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

std::vector<ShapeTimes> shape_times(const Task& task, const std::vector<PortfolioArm>& arms,
                                    const PortfolioChoice& choice) {
  std::vector<ShapeTimes> shapes;
  for (const Workload& workload : task.bench) {
    ShapeTimes shape{.workload = workload.name,
                     .dims = workload.dims,
                     .time_us = {},
                     .fallback_us = 0,
                     .weight = workload.weight};
    const double base = baseline_us(arms, workload.name);
    for (const PortfolioArm& arm : arms) {
      const auto found = arm.times.find(workload.name);
      shape.time_us.push_back(found == arm.times.end() ? 0 : base / found->second.speedup);
    }
    const auto fallback = choice.fallback_us.find(workload.name);
    if (fallback != choice.fallback_us.end()) shape.fallback_us = fallback->second;
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

/// Candidates that may be worth an arm: all elites, for the best of them, and all champions.
std::vector<PortfolioArm> all_arms(const Archive& archive, const Task& task, const PortfolioChoice& choice,
                                   const std::string& baseline_id) {
  std::set<std::uint64_t> ordinals;
  if (choice.only) {
    ordinals.insert(*choice.only);
  } else {
    archive.grid().for_each([&](const Elite& elite) { ordinals.insert(elite.ordinal); });
    for (const Champion& champion : archive.champions()) ordinals.insert(champion.ordinal);
  }
  std::vector<PortfolioArm> arms;
  for (const std::uint64_t ordinal : ordinals)
    if (auto arm = arm_of(archive, task, ordinal, baseline_id)) arms.push_back(std::move(*arm));
  const std::map<std::string, double> weights = workload_weights(task);
  for (PortfolioArm& arm : arms) {
    arm.speedup = mean_speedup(arm.times, weights);
    for (const Champion& champion : archive.champions())
      if (champion.ordinal == arm.ordinal) arm.champion_of.push_back(champion.workload);
  }
  return arms;
}

/// Champions whose arm no rule calls, with what they would gain where they are champions.
std::vector<LeftOut> left_out_of(const Portfolio& portfolio) {
  std::vector<LeftOut> left_out;
  for (std::size_t arm = 0; arm < portfolio.arms.size(); ++arm) {
    for (const std::string& workload : portfolio.arms[arm].champion_of) {
      const auto shape = std::find_if(portfolio.shapes.begin(), portfolio.shapes.end(),
                                      [&](const ShapeTimes& one) { return one.workload == workload; });
      if (shape == portfolio.shapes.end()) continue;
      const int called = arm_at(portfolio.dispatch, shape->dims);
      if (called == static_cast<int>(arm) || called == k_fallback_arm) continue;
      const double own = shape->time_us[arm], other = shape->time_us[static_cast<std::size_t>(called)];
      left_out.push_back({.ordinal = portfolio.arms[arm].ordinal,
                          .workload = workload,
                          .gain = own > 0 && other > 0 ? other / own - 1 : 0,
                          .gain_min = portfolio.gain_min});
    }
  }
  return left_out;
}

/// Keeps the arms that the dispatch uses, the default first, and gives them their labels.
void keep_used(Portfolio& portfolio) {
  std::vector<int> used{portfolio.dispatch.default_arm};
  for (const DispatchRule& rule : portfolio.dispatch.rules)
    if (rule.arm != k_fallback_arm && std::find(used.begin(), used.end(), rule.arm) == used.end())
      used.push_back(rule.arm);
  const auto renamed = [&](int arm) {
    return static_cast<int>(std::find(used.begin(), used.end(), arm) - used.begin());
  };
  std::vector<PortfolioArm> arms;
  for (const int arm : used) {
    arms.push_back(std::move(portfolio.arms[static_cast<std::size_t>(arm)]));
    arms.back().label = fmt::format("arm_{}", arms.size() - 1);
  }
  for (ShapeTimes& shape : portfolio.shapes) {
    std::vector<double> times;
    for (const int arm : used) times.push_back(shape.time_us[static_cast<std::size_t>(arm)]);
    shape.time_us = std::move(times);
  }
  portfolio.arms = std::move(arms);
  for (DispatchRule& rule : portfolio.dispatch.rules)
    if (rule.arm != k_fallback_arm) rule.arm = renamed(rule.arm);
  portfolio.dispatch.default_arm = 0;
}

}  // namespace

std::vector<std::string> variable_dims(const Task& task) {
  std::vector<std::string> names;
  for (const DimSpec& dim : task.dims)
    if (!dim.constant) names.push_back(dim.name);
  return names;
}

double least_gain(bool is_modelled) {
  constexpr double k_measured = 0.01;
  return is_modelled ? 1 - 1 / least_gain_told() : k_measured;
}

Portfolio read_portfolio(const Archive& archive, const Task& task, const PortfolioChoice& choice) {
  const RunRecord run = archive.run();
  const Baseline baseline = baseline_of(archive, workload_weights(task));
  if (baseline.id.empty())
    throw ConfigError("RUN", "", "has no timed seed yet, so nothing is known to be fast");
  Portfolio portfolio{.task = task.name,
                      .run_started = fmt::format("{:.0f}", run.started_unix_s),
                      .arms = all_arms(archive, task, choice, baseline.id),
                      .dispatch = {},
                      .shapes = {},
                      .is_confirmed = false,
                      .baseline_id = baseline.id,
                      .baseline_ordinal = baseline.ordinal,
                      .baseline_summary = {}};
  if (portfolio.arms.empty())
    throw ConfigError(choice.only ? "--elite" : "RUN", choice.only ? fmt::format("#{}", *choice.only) : "",
                      "is not proven and timed at a bench workload");
  if (const auto record = archive.candidate(baseline.ordinal)) portfolio.baseline_summary = record->summary;
  for (const PortfolioArm& arm : portfolio.arms)
    for (const auto& [workload, time] : arm.times)
      portfolio.is_modelled = portfolio.is_modelled || time.timing.is_modelled;
  portfolio.is_model_compared = std::all_of(
      portfolio.arms.begin(), portfolio.arms.end(),
      [&](const PortfolioArm& arm) { return model_error(arm.provenance.device, task.name).has_value(); });
  portfolio.known_before = public_secrets(run, portfolio.is_modelled);
  portfolio.shapes = shape_times(task, portfolio.arms, choice);
  portfolio.gain_min = choice.gain_min.value_or(least_gain(portfolio.is_modelled));
  std::vector<ShapeTimes> compared = portfolio.shapes;
  if (portfolio.is_modelled)
    for (ShapeTimes& shape : compared) shape.fallback_us = 0;
  portfolio.dispatch = choose_dispatch(compared, variable_dims(task), portfolio.gain_min);
  portfolio.left_out = left_out_of(portfolio);
  keep_used(portfolio);
  return portfolio;
}

std::string left_out_words(const LeftOut& champion) {
  const std::string name = fmt::format("#{}, champion of {},", champion.ordinal, champion.workload);
  if (champion.gain <= 0)
    return fmt::format(
        "{} is not faster there than what is called, once their duels are brought together by the baseline "
        "({:+.1f} %)",
        name, 100 * champion.gain);
  const double saved = 1 - 1 / (1 + champion.gain);  // of the time, as --gain counts
  return saved <= champion.gain_min
             ? fmt::format("{} is {:.1f} % faster there than what is called: less than --gain {:.1f} %", name,
                           100 * champion.gain, 100 * champion.gain_min)
             : fmt::format("{} is {:.1f} % faster there, but no rule tells its shape from its neighbours'",
                           name, 100 * champion.gain);
}

std::string times_words(const Portfolio& portfolio) {
  if (portfolio.is_confirmed) return "the exported dispatcher's own";
  if (!portfolio.is_modelled) return "the run's duels, measured";
  const std::string told =
      portfolio.is_model_compared
          ? fmt::format("the model tells no kernel from another that is less than {:g} times as fast",
                        least_gain_told())
          : fmt::format(
                "nobody has compared the time model with such a device; on an H100 it tells no kernel from "
                "another that is less than {:g} times as fast",
                least_gain_told());
  return fmt::format(
      "the run's duels, modelled: no device has timed these kernels, and {}, which is what one must be to be "
      "called beside the best (--gain says otherwise); measure with the exported bench, then --confirm",
      told);
}

std::string model_words(const Portfolio& portfolio, double gain) {
  if (!portfolio.is_modelled || portfolio.is_confirmed) return "";
  if (!portfolio.is_model_compared) return " by the model, which nobody has compared with such a device";
  return fmt::format(" by the model: {}", agreement_words(gain));
}

std::string evidence_words(const Portfolio& portfolio) {
  const PublicSecrets& known = portfolio.known_before;
  if (known.are_examinations)
    return fmt::format(
        "NO EVIDENCE: {}. A kernel made to know that could pass; examine these again in a run of its own "
        "(kernelites evaluate FILE --task {}).",
        known.words, portfolio.task);
  if (known.words.empty() || portfolio.is_confirmed) return "";
  return fmt::format(
      "NO EVIDENCE OF SPEED: {}. A kernel made to know that could seem fast; measure with the exported "
      "bench.",
      known.words);
}

Portfolio with_measured(Portfolio portfolio, std::vector<ShapeTimes> shapes, std::optional<double> gain_min) {
  std::vector<std::string> dims;
  for (const auto& [name, value] : shapes.front().dims) dims.push_back(name);
  portfolio.gain_min = gain_min.value_or(least_gain(false));
  portfolio.dispatch = choose_dispatch(shapes, dims, portfolio.gain_min);
  portfolio.shapes = std::move(shapes);
  portfolio.is_confirmed = true;
  return portfolio;
}

}  // namespace kernelites
