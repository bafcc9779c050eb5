// SPDX-License-Identifier: Apache-2.0
// Ratios of two candidates, and the fields of an effect.
#include "engine/search/measured_change.h"

#include <algorithm>
#include <cmath>

#include "archive/elite_rule.h"
#include "engine/core/digest.h"
#include "engine/variation/bottleneck.h"
#include "engine/variation/technique_table.h"

namespace kernelites {
namespace {

constexpr double k_interval = 0.95;

/// Half-width of a two-sided normal interval in standard deviations.
double deviations_of(double confidence) {
  double low = 0, high = 10;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (std::erf(middle / std::sqrt(2.0)) < confidence ? low : high) = middle;
  }
  return (low + high) / 2;
}

/// The same at 95 %: duels have intervals of different confidence.
PairedRatio at_95(PairedRatio ratio) {
  const double factor = deviations_of(k_interval) / deviations_of(ratio.confidence);
  ratio.log_ratio_low = ratio.log_ratio_median + factor * (ratio.log_ratio_low - ratio.log_ratio_median);
  ratio.log_ratio_high = ratio.log_ratio_median + factor * (ratio.log_ratio_high - ratio.log_ratio_median);
  ratio.confidence = k_interval;
  return ratio;
}

double width(const PairedRatio& ratio) { return ratio.log_ratio_high - ratio.log_ratio_low; }

std::optional<PairedRatio> ratio_in(const Duel& duel, const std::string& arm,
                                    const std::map<std::string, double>& weights) {
  std::map<std::string, double> timed;
  for (const auto& [workload, weight] : weights)
    if (duel.timing.contains(workload)) timed[workload] = weight;
  const auto ratio = pooled_ratio(duel, arm, timed);
  return ratio ? std::optional(at_95(*ratio)) : std::nullopt;
}

/// `a` against an arm less `b` against the same arm: both were measured for themselves, so that variances add.
PairedRatio difference(const PairedRatio& a, const PairedRatio& b) {
  const double median = a.log_ratio_median - b.log_ratio_median;
  const double half = std::hypot(width(a), width(b)) / 2;
  return {.log_ratio_median = median,
          .log_ratio_low = median - half,
          .log_ratio_high = median + half,
          .confidence = k_interval,
          .rounds = std::min(a.rounds, b.rounds)};
}

PairedRatio reversed(PairedRatio ratio) {
  std::swap(ratio.log_ratio_low, ratio.log_ratio_high);
  ratio.log_ratio_median *= -1;
  ratio.log_ratio_low *= -1;
  ratio.log_ratio_high *= -1;
  return ratio;
}

/// The bench workloads by shape class, with their weights.
std::map<std::string, std::map<std::string, double>> classes_of(const Task& task, const DeviceFacts& device,
                                                                const Duel& timed) {
  std::map<std::string, std::map<std::string, double>> classes;
  for (const Workload& workload : task.bench)
    if (timed.timing.contains(workload.name))
      classes[shape_class_of(task, device, workload)][workload.name] = workload.weight;
  return classes;
}

void set_outcome(const std::optional<ChangeRatio>& measured, double effect_min, Effect& effect) {
  if (!measured) return;  // failed
  const PairedRatio gain = reversed(measured->ratio);
  effect.log_gain = gain.log_ratio_median;
  effect.log_gain_low = gain.log_ratio_low;
  effect.log_gain_high = gain.log_ratio_high;
  effect.rounds = gain.rounds;
  effect.is_paired = measured->is_paired;
  const double least = std::log1p(effect_min);
  effect.outcome = effect.log_gain >= least && effect.log_gain_low > 0     ? EffectOutcome::faster
                   : effect.log_gain <= -least && effect.log_gain_high < 0 ? EffectOutcome::slower
                                                                           : EffectOutcome::alike;
}

}  // namespace

std::optional<ChangeRatio> change_ratio(const ChangeEnd& parent, const ChangeEnd& child,
                                        const std::map<std::string, double>& weights) {
  std::optional<ChangeRatio> best;
  const auto consider = [&](const PairedRatio& ratio, bool is_paired) {
    // A duel of the two is worth more than a slightly narrower detour.
    if (!best || (is_paired && !best->is_paired) ||
        (is_paired == best->is_paired && width(ratio) < width(best->ratio)))
      best = ChangeRatio{ratio, is_paired};
  };
  for (const TimedDuel& one : child.duels)
    if (const auto ratio = ratio_in(one.duel, parent.specimen.id, weights)) consider(*ratio, true);
  for (const TimedDuel& one : parent.duels)
    if (const auto ratio = ratio_in(one.duel, child.specimen.id, weights)) consider(reversed(*ratio), true);
  for (const TimedDuel& one : child.duels)
    for (const TimedDuel& other : parent.duels)
      for (std::size_t arm = 1; arm < one.duel.arms.size(); ++arm) {
        const auto near = ratio_in(one.duel, one.duel.arms[arm], weights);
        const auto far = ratio_in(other.duel, one.duel.arms[arm], weights);
        if (near && far) consider(difference(*near, *far), false);
      }
  return best;
}

std::vector<Effect> effects_between(const Task& task, const ChangeEnd& parent, const ChangeEnd& child,
                                    const ChangeFacts& facts, double effect_min) {
  std::vector<Effect> effects;
  const DeviceFacts& device = facts.provenance.device;
  if (!parent.specimen.verdict.is_passed || parent.duels.empty()) return effects;
  const bool is_passed = child.specimen.verdict.is_passed;
  const std::string state = bottleneck_of(task, device, parent.specimen);
  for (const auto& [shape_class, weights] : classes_of(task, device, parent.duels.back().duel)) {
    std::vector<std::string> workloads;
    for (const auto& [workload, weight] : weights) workloads.push_back(workload);
    const KernelMeasures before =
        measures_of(parent.specimen.candidate, parent.specimen.examination, device, workloads);
    const KernelMeasures after =
        measures_of(child.specimen.candidate, child.specimen.examination, device, workloads);
    if (before.empty() || after.empty()) continue;
    Effect effect{.parent = digest(parent.specimen.id),
                  .pair = digest_parts({parent.specimen.id, facts.winner_id}),
                  .task = effect_code(task.name),
                  .family = effect_code(task.family),
                  .dtype = dtype_of(task),
                  .architecture = device.architecture,
                  .device = device.kind,
                  .is_modelled = device.is_virtual,
                  .toolkit = facts.provenance.toolkit,
                  .harness_version = facts.provenance.harness_version,
                  .state = state,
                  .shape_class = shape_class,
                  .techniques = techniques_between(before, after),
                  .measures = changed_measures(before, after),
                  .is_minimal = facts.is_minimal,
                  .parts = facts.parts,
                  .measured_unix_s = facts.measured_unix_s};
    if (effect.techniques.empty()) continue;
    if (effect.techniques.size() > k_effect_techniques_max)
      continue;  // another kernel, not a change of this one
    const auto measured = is_passed ? change_ratio(parent, child, weights) : std::nullopt;
    if (is_passed && !measured) continue;
    set_outcome(measured, effect_min, effect);
    effect.id = effect_id(parent.specimen.id, child.specimen.id, facts.provenance.task_digest, effect);
    if (effect_problem(effect).empty()) effects.push_back(std::move(effect));
  }
  return effects;
}

}  // namespace kernelites
