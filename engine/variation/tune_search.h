// SPDX-License-Identifier: Apache-2.0
// Which tuning of a source is tried next: a pure function of those that were.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/variation/tune_model.h"

namespace kernelites {

/// What is known of one source's tunings.
struct TuneState {
  std::vector<Tunable> tunables;
  std::vector<TuningRule> rules;
  Tuning start;  ///< complete: the parent's
  std::vector<TunedPoint> tried;
  std::map<std::string, double> weights;             ///< of the bench workloads
  std::function<bool(const Tuning&)> is_known = {};  ///< is not to be proposed; empty: nothing is known
};

/// A tuning, and what it is to become fast at: a workload, or "" for the weighted mean of all.
struct TuneProposal {
  Tuning tuning;
  std::string workload;
  Tuning from;  ///< the fastest there so far, which it is a neighbour of
};

/// Half of the draws aim at all workloads together, from `start`; the others at one workload, from the fastest there
/// (dispatch takes the fastest of each). Of the untried neighbours of that, those with one change before those with
/// two, it takes the one that a draw of the model ranks highest among those that are likely to pass. Nothing if every
/// allowed choice of one or two changes of `start` is known.
std::optional<TuneProposal> next_tuning(const TuneState& state, Rng& rng);

}  // namespace kernelites
