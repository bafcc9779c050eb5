// SPDX-License-Identifier: Apache-2.0
// The decision, question by question; the first that is answered against the candidate ends it.
#include "archive/elite_rule.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/core/error.h"

namespace kernelites {
namespace {

constexpr std::array<const char*, 11> k_status_names{
    "failed",     "unplaced",    "untimed",       "incumbent_changed", "incomparable", "tie",
    "regression", "unconfirmed", "not_confirmed", "improved",          "added"};

Elite elite_from(const Evidence& evidence, const DuelEvidence& decisive, std::string cell, double fitness) {
  return {.cell = std::move(cell),
          .ordinal = evidence.ordinal,
          .candidate_id = evidence.candidate_id,
          .fitness = fitness,
          .speedup = decisive.speedup,
          .duel_id = decisive.duel_id,
          .task_digest = evidence.provenance.task_digest,
          .harness_version = evidence.provenance.harness_version,
          .device = evidence.provenance.device.kind,
          .is_modelled = evidence.provenance.device.is_virtual};
}

bool is_gain(const PairedRatio& ratio, double effect, double confidence_min) {
  // Written so that a NaN in any bound proves nothing. The median must lie in its own interval.
  return ratio.rounds > 0 && ratio.confidence >= confidence_min && effect < 1 &&
         std::isfinite(ratio.log_ratio_median) && ratio.log_ratio_median <= ratio.log_ratio_high &&
         ratio.log_ratio_high < std::log1p(-effect);
}

bool is_against(const DuelEvidence& duel, const Elite& incumbent) {
  return duel.ratio && duel.incumbent_id == incumbent.candidate_id;
}

bool loses_a_workload(const DuelEvidence& duel, const EliteRule& rule) {
  return rule.workload_loss_max > 0 && duel.worst_log_ratio > std::log1p(rule.workload_loss_max);
}

/// `decisive` is the confirming duel where one is needed: it did not select the candidate, so its estimate is
/// free of the winner's curse.
Decision improved(const Evidence& evidence, const DuelEvidence& decisive, const Elite& incumbent) {
  const double fitness = incumbent.fitness * std::exp(-decisive.ratio->log_ratio_median);
  return {InsertStatus::improved, elite_from(evidence, decisive, incumbent.cell, fitness)};
}

}  // namespace

const char* insert_status_name(InsertStatus status) {
  return k_status_names.at(static_cast<std::size_t>(status));
}

bool is_final(InsertStatus status) {
  switch (status) {
    case InsertStatus::untimed:
    case InsertStatus::incumbent_changed:
    case InsertStatus::incomparable:
    case InsertStatus::unconfirmed:
      return false;
    default:
      return true;
  }
}

Decision decide_insert(const Grid& grid, const Evidence& evidence, const EliteRule& rule) {
  if (!evidence.is_passed) return {InsertStatus::failed, {}};
  const auto cell = cell_name(evidence.descriptors, grid.axes());
  if (!cell) return {InsertStatus::unplaced, {}};
  if (!evidence.duel) return {InsertStatus::untimed, {}};
  const DuelEvidence& duel = *evidence.duel;
  const std::optional<DuelEvidence>& confirmation = evidence.confirmation;
  if (!duel.is_passed || (confirmation && !confirmation->is_passed)) return {InsertStatus::failed, {}};

  const Elite* incumbent = grid.find(*cell);
  if (!incumbent) {
    if (!std::isfinite(duel.speedup) || duel.speedup <= 0) return {InsertStatus::untimed, {}};
    return {InsertStatus::added, elite_from(evidence, duel, *cell, duel.speedup)};
  }
  if (incumbent->candidate_id == evidence.candidate_id) return {InsertStatus::tie, {}};
  if (is_stale(*incumbent, evidence.provenance)) return {InsertStatus::incomparable, {}};
  if (!is_against(duel, *incumbent)) return {InsertStatus::incumbent_changed, {}};
  if (!is_significant_gain(*duel.ratio, rule)) return {InsertStatus::tie, {}};
  if (loses_a_workload(duel, rule)) return {InsertStatus::regression, {}};
  if (!rule.needs_confirmation) return improved(evidence, duel, *incumbent);

  if (!confirmation) return {InsertStatus::unconfirmed, {}};
  KERNELITES_ASSERT(confirmation->duel_id != duel.duel_id);
  if (!is_against(*confirmation, *incumbent)) return {InsertStatus::incumbent_changed, {}};
  if (!is_confirmed_gain(*confirmation->ratio, rule) || loses_a_workload(*confirmation, rule))
    return {InsertStatus::not_confirmed, {}};
  return improved(evidence, *confirmation, *incumbent);
}

bool is_significant_gain(const PairedRatio& ratio, const EliteRule& rule) {
  return is_gain(ratio, std::max(rule.effect_min, rule.null_half_width), rule.confidence_min);
}

bool is_confirmed_gain(const PairedRatio& ratio, const EliteRule& rule) {
  return is_gain(ratio, 0, rule.confirmation_confidence_min);
}

bool looks_like_gain(const PairedRatio& ratio, const EliteRule& rule) {
  return ratio.rounds > 0 &&
         ratio.log_ratio_median < std::log1p(-std::max(rule.effect_min, rule.null_half_width));
}

PairedRatio combined_ratio(const std::vector<PairedRatio>& ratios) {
  KERNELITES_ASSERT(!ratios.empty());
  if (ratios.size() == 1) return ratios.front();
  PairedRatio combined = ratios.front();
  combined.rounds = 0;
  double weight_sum = 0, weighted = 0, low = 0, high = 0;
  // Exact times have no width: the smallest one keeps their weights finite and equal.
  const auto half_width = [](const PairedRatio& ratio) {
    return std::max((ratio.log_ratio_high - ratio.log_ratio_low) / 2, 1e-9);
  };
  for (const PairedRatio& ratio : ratios) {
    const double weight = 1 / (half_width(ratio) * half_width(ratio));
    const double down = ratio.log_ratio_median - ratio.log_ratio_low;
    const double up = ratio.log_ratio_high - ratio.log_ratio_median;
    weight_sum += weight;
    weighted += weight * ratio.log_ratio_median;
    low += weight * weight * down * down;
    high += weight * weight * up * up;
    combined.confidence = std::min(combined.confidence, ratio.confidence);
    combined.rounds += ratio.rounds;
  }
  combined.log_ratio_median = weighted / weight_sum;
  double scatter = 0;  // in units of half-widths, which are about three deviations
  for (const PairedRatio& ratio : ratios) {
    const double distance = 3 * (ratio.log_ratio_median - combined.log_ratio_median) / half_width(ratio);
    scatter += distance * distance;
  }
  const double widening = std::max(1.0, std::sqrt(scatter / static_cast<double>(ratios.size() - 1)));
  combined.log_ratio_low = combined.log_ratio_median - widening * std::sqrt(low) / weight_sum;
  combined.log_ratio_high = combined.log_ratio_median + widening * std::sqrt(high) / weight_sum;
  return combined;
}

std::optional<PairedRatio> pooled_ratio(const Duel& duel, const std::string& arm,
                                        const std::map<std::string, double>& weights) {
  const auto found = std::find(duel.arms.begin(), duel.arms.end(), arm);
  if (found == duel.arms.end() || found == duel.arms.begin()) return std::nullopt;
  const auto index = static_cast<std::size_t>(found - duel.arms.begin()) - 1;  // ratios start at arm 1

  PairedRatio pooled{.confidence = 1};
  double weight_sum = 0;
  double square_low = 0;
  double square_high = 0;
  for (const auto& [workload, weight] : weights) {
    if (weight <= 0) continue;
    const auto ratios = duel.ratio.find(workload);
    if (ratios == duel.ratio.end() || ratios->second.size() <= index) return std::nullopt;
    const PairedRatio& ratio = ratios->second[index];
    const double low = weight * (ratio.log_ratio_median - ratio.log_ratio_low);
    const double high = weight * (ratio.log_ratio_high - ratio.log_ratio_median);
    weight_sum += weight;
    pooled.log_ratio_median += weight * ratio.log_ratio_median;
    square_low += low * low;
    square_high += high * high;
    pooled.confidence = std::min(pooled.confidence, ratio.confidence);
    pooled.rounds = pooled.rounds == 0 ? ratio.rounds : std::min(pooled.rounds, ratio.rounds);
  }
  if (weight_sum <= 0) return std::nullopt;
  pooled.log_ratio_median /= weight_sum;
  pooled.log_ratio_low = pooled.log_ratio_median - std::sqrt(square_low) / weight_sum;
  pooled.log_ratio_high = pooled.log_ratio_median + std::sqrt(square_high) / weight_sum;
  return pooled;
}

double worst_log_ratio(const Duel& duel, const std::string& arm,
                       const std::map<std::string, double>& weights) {
  double worst = -HUGE_VAL;
  for (const auto& [workload, weight] : weights) {
    if (weight <= 0) continue;
    const auto ratio = pooled_ratio(duel, arm, {{workload, 1.0}});
    if (!ratio) return HUGE_VAL;
    worst = std::max(worst, ratio->log_ratio_median);
  }
  return worst;
}

DuelEvidence duel_evidence(const std::string& duel_id, const Duel& duel, const std::string& incumbent_id,
                           const std::map<std::string, double>& weights) {
  DuelEvidence evidence{.duel_id = duel_id, .is_passed = duel.verdict.is_passed};
  if (const auto baseline = pooled_ratio(duel, "baseline", weights))
    evidence.speedup = std::exp(-baseline->log_ratio_median);
  evidence.ratio = pooled_ratio(duel, "incumbent", weights);
  if (evidence.ratio) {
    evidence.incumbent_id = incumbent_id;
    evidence.worst_log_ratio = worst_log_ratio(duel, "incumbent", weights);
  }
  return evidence;
}

}  // namespace kernelites
