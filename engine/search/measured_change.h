// SPDX-License-Identifier: Apache-2.0
// From two evaluated candidates to effects: what was changed between them, and what that did to the time.
//
// Only what the worker measured is read: descriptors, opcode counts, plans, resources, times, and values of tunables
// with known names. Sources, summaries, names of kernels and messages are not.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/effect.h"
#include "engine/core/evaluation.h"
#include "engine/core/task.h"
#include "engine/variation/operator.h"

namespace kernelites {

/// A duel that passed, arms labelled by candidate id except arm 0.
struct TimedDuel {
  std::string candidate_id;  ///< arm 0
  Duel duel;
};

/// One end of a change.
struct ChangeEnd {
  Specimen specimen;             ///< its duel: the newest
  std::vector<TimedDuel> duels;  ///< all that it was arm 0 of
};

/// What else an effect says.
struct ChangeFacts {
  Provenance provenance;       ///< of the child's examination
  double measured_unix_s = 0;  ///< when the child was told
  std::string winner_id;       ///< the child, or what it was minimised from
  bool is_minimal = false;
  int parts = 0;
};

/// log(time of the child / time of the parent) over the workloads of `weights` with a 95 % interval: from a duel of the
/// two, else through an arm that both met, whichever is narrowest. Empty if they met none.
struct ChangeRatio {
  PairedRatio ratio;
  bool is_paired = false;
};
std::optional<ChangeRatio> change_ratio(const ChangeEnd& parent, const ChangeEnd& child,
                                        const std::map<std::string, double>& weights);

/// An effect for each shape class of the task's timed workloads. Empty if the parent was not timed, the child did not
/// compile or is the same in all measures, or they cannot be compared. `effect_min`: smaller gains are none.
std::vector<Effect> effects_between(const Task& task, const ChangeEnd& parent, const ChangeEnd& child,
                                    const ChangeFacts& facts, double effect_min);

}  // namespace kernelites
