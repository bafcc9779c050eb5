// SPDX-License-Identifier: Apache-2.0
// From told candidates, steps of cells, rejections and costs to pulls of arms.
#include "engine/search/search_history.h"

#include <algorithm>
#include <cmath>

namespace kernelites {
namespace {

std::int64_t millionths(double value) { return std::llround(1e6 * value); }

/// `usd`: what counts of it now.
ArmOfVariation arm_of(const VariationRecord& variation, double usd) {
  return {.variation = variation.ordinal,
          .operator_name = variation.operator_name,
          .endpoint = variation.endpoint,
          .prompt_version = variation.prompt_version,
          .usd = usd};
}

}  // namespace

HistorySettings history_settings(const RunConfig& config) {
  return {
      .bandit = config.bandit, .stagnation = config.stagnation, .counts_device = !config.is_deterministic};
}

void SearchHistory::read_rejections() {
  for (const RejectionRecord& rejection : archive_.rejections()) rejected(rejection.ordinal);
}

void SearchHistory::catch_up() {
  take_steps();
  for (const CandidateRecord& record : archive_.told_candidates(told_)) take_told(record);
  gain_of_.clear();
}

void SearchHistory::rejected(std::uint64_t variation) {
  if (const auto record = archive_.variation(variation))
    count(arm_of(*record, archive_.usd_of(variation)), {}, 0, true);
}

void SearchHistory::handed_in(std::uint64_t variation) { rejected(variation); }

void SearchHistory::take_steps() {
  for (const EliteStep& step : archive_.elite_history(step_)) {
    step_ = step.sequence;
    const EliteGain gain = gains_.take(step.status, step.elite.cell, step.elite.fitness);
    if (gain.bits > 0) gain_of_[step.elite.ordinal] = gain;
  }
}

void SearchHistory::take_told(const CandidateRecord& record) {
  told_ = record.told;
  const auto variation = archive_.variation(record.variation);
  if (!variation || variation->operator_name == "seed") return;
  const auto gain = gain_of_.find(record.ordinal);
  // An inner candidate is the end of its variation if that submitted it; one that was told before that: `handed_in`.
  const bool is_over = record.ordinal == record.variation ||
                       variation->decision.value("submitted", std::uint64_t{0}) == record.ordinal;
  const double device_s = settings_.counts_device ? archive_.cost_of(record.ordinal).device_s : 0;
  count(arm_of(*variation, is_over ? archive_.usd_of(variation->ordinal) : 0),
        gain == gain_of_.end() ? EliteGain{} : gain->second, device_s, is_over);
}

void SearchHistory::take(const HistoryRows& rows) {
  for (const ArmOfVariation& variation : rows.rejected) count(variation, {}, 0, true);
  take_steps();
  for (const ToldRow& row : rows.told) {
    told_ = row.told;
    if (row.arm.operator_name == "seed") continue;
    const auto gain = gain_of_.find(row.ordinal);
    const bool is_over = row.ordinal == row.arm.variation || row.submitted == row.ordinal;
    count(row.arm, gain == gain_of_.end() ? EliteGain{} : gain->second,
          settings_.counts_device ? row.device_s : 0, is_over);
  }
  gain_of_.clear();
}

void SearchHistory::count(const ArmOfVariation& variation, const EliteGain& gain, double device_s,
                          bool is_over) {
  const double usd = is_over ? variation.usd : 0;
  const double device_usd = device_s * settings_.bandit.usd_per_device_hour / 3600;
  bandit_.add({variation.operator_name, variation.endpoint, variation.prompt_version}, variation.variation,
              {.variations = is_over ? 1 : 0,
               .elites = gain.bits > 0 ? 1 : 0,
               .gain_ubits = millionths(gain.bits),
               .cost_uusd = millionths(usd + device_usd),
               .device_ms = std::llround(1e3 * device_s)});
  if (is_over) stagnation_.over(variation.variation, usd, device_s);
  if (gain.is_best) stagnation_.improved(variation.variation);
}

}  // namespace kernelites
