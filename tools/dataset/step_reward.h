// SPDX-License-Identifier: Apache-2.0
// What one step is worth to a trainer: a number that anybody can compute again from the step's own record.
#pragma once

#include <optional>

#include "engine/core/evaluation.h"
#include "engine/core/json.h"

namespace kernelites {

/// How much faster a child is than its parent: natural logarithms of (time of the parent / time of the child).
struct StepGain {
  double log_gain = 0;
  double low = 0;  ///< interval at `confidence`
  double high = 0;
  double confidence = 0.95;
  int rounds = 0;
  bool is_paired = false;  ///< both ran in one duel; else through a third kernel that both met
  bool is_modelled = false;
};

/// From log(time of the child / time of the parent), as duels tell it.
StepGain gain_from(const PairedRatio& ratio, bool is_paired, bool is_modelled);
void to_json(Json& json, const StepGain& gain);

/// Written into records, so that a reader knows which formula a reward comes from. Changes with the formula.
inline constexpr const char* k_reward_formula = "step-1";

/// The formula (docs/dataset.md), from 0 to 1:
///   no candidate came out of the reply                        0
///   failed before it ran (stages plan, compile, screen)       0.1
///   failed later                                              0.2
///   passed, and not comparable with its parent                0.4
///   passed                                                    0.5 + 0.5 clamp(bits, -0.2, 1)
/// where bits is the end of the gain's interval that is nearer to zero, in bits, and 0 if the interval holds zero: what
/// is not proven earns nothing, and twice as fast earns all. `verdict` null: no candidate.
double step_reward(const Verdict* verdict, const std::optional<StepGain>& gain);

}  // namespace kernelites
