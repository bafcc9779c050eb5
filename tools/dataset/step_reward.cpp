// SPDX-License-Identifier: Apache-2.0
// The formula of the reward.
#include "tools/dataset/step_reward.h"

#include <algorithm>
#include <numbers>

namespace kernelites {

StepGain gain_from(const PairedRatio& ratio, bool is_paired, bool is_modelled) {
  return {.log_gain = -ratio.log_ratio_median,
          .low = -ratio.log_ratio_high,
          .high = -ratio.log_ratio_low,
          .confidence = ratio.confidence,
          .rounds = ratio.rounds,
          .is_paired = is_paired,
          .is_modelled = is_modelled};
}

void to_json(Json& json, const StepGain& gain) {
  json = {{"log_gain", gain.log_gain},      {"low", gain.low},       {"high", gain.high},
          {"confidence", gain.confidence},  {"rounds", gain.rounds}, {"is_paired", gain.is_paired},
          {"is_modelled", gain.is_modelled}};
}

double step_reward(const Verdict* verdict, const std::optional<StepGain>& gain) {
  if (verdict == nullptr) return 0;
  const std::string& stage = verdict->stage;
  if (!verdict->is_passed) return stage == "plan" || stage == "compile" || stage == "screen" ? 0.1 : 0.2;
  if (!gain) return 0.4;
  const double proven = std::max(gain->low, 0.0) + std::min(gain->high, 0.0);
  return 0.5 + 0.5 * std::clamp(proven / std::numbers::ln2, -0.2, 1.0);
}

}  // namespace kernelites
