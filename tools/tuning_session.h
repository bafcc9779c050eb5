// SPDX-License-Identifier: Apache-2.0
// What `kernelites tune` does with the workers: proposals, proofs, and races against the default.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/evaluation.h"
#include "engine/core/task.h"
#include "engine/variation/tune_search.h"
#include "evaluators/worker_pool.h"

namespace kernelites {

struct TuningSettings {
  std::size_t choices_max = 64;  ///< that are proved, the default with them
  int rounds = 20;               ///< of a race's last heat, and of what proves the winners
  std::uint64_t seed = 1;
};

/// One tuning, and what was found.
struct TunedChoice {
  Candidate candidate;
  Verdict verdict;
  std::string code_digest;
  std::string twin_of;                             ///< the tuning of the same code that is timed in its place
  std::map<std::string, double> log_speedup = {};  ///< over the default, by workload; empty: not timed
  std::optional<PairedRatio> proven = {};          ///< of a winner: from a duel of its own with the default
  double speedup = 0;                              ///< weighted geometric mean; 0: not timed
};

/// The choices, the default first, and who is fastest where.
struct TuningResult {
  std::vector<TunedChoice> choices;
  std::map<std::string, std::size_t>
      fastest;  ///< by workload, and "" for all together; empty: the default failed
};

/// Proves the default, then ever more choices, seven at a time, as `next_tuning` proposes them, and races each seven
/// by halving; in the end the winners meet the default in duels of their own, in which their outputs are verified. A
/// space of at most `choices_max` allowed choices is swept whole. `say` gets a line whenever something is known.
TuningResult tune_by_halving(Evaluator& evaluator, const Task& task, const std::string& device,
                             const Candidate& start, const TuningSettings& settings,
                             const std::function<void(const std::string&)>& say);

/// "BM=16 BN=64"
std::string tuning_text(const Tuning& tuning);

}  // namespace kernelites
