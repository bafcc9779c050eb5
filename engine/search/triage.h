// SPDX-License-Identifier: Apache-2.0
// Who duels first, and who not at all: by modelled times, on a real device.
//
// A worker models what it has proven on the virtual GPU beside its device (stage model): a duel costs the device
// seconds, a modelled time costs it nothing; and it errs. So the model orders candidates that wait for a duel, and may
// leave out those that it puts far behind everybody whom they could replace. How far is far follows from how much it
// erred in this run's own duels. One in `sample` of them duels all the same. Nothing here places a candidate: elites
// and champions are made of duels alone (placement.h).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "archive/grid.h"
#include "archive/records.h"
#include "engine/core/digest.h"
#include "engine/search/triage_settings.h"

namespace kernelites {

/// `Outcome::status` of a candidate that was not timed because the model puts it far behind.
inline constexpr const char* k_modelled_slow = "modelled_slow";

/// How a candidate stands, by the model, to those whom it could replace.
struct Standing {
  /// log(its modelled time / that of the nearest of them): the elite of its cell over all workloads, a champion at its
  /// own. Negative: it is ahead of one.
  double lag = 0;
  bool is_far_behind = false;
  bool is_sample = false;  ///< far behind, and drawn to duel all the same
};

class Triage {
 public:
  /// `weights`: of bench workloads. `key`: samples are drawn by it and a candidate's ordinal.
  Triage(TriageSettings settings, std::map<std::string, double> weights, const Key& key);

  bool is_on() const { return settings_.mode != "off"; }
  bool may_skip() const { return settings_.mode == "skip"; }

  /// Takes up what an examination says of modelled times, if it does.
  void know(const std::string& candidate_id, const Examination& examination);
  bool knows(const std::string& candidate_id) const { return modelled_us_.count(candidate_id) > 0; }
  /// Compares modelled with measured ratios of a candidate's first duel that passed, over the arms that are known.
  void learn(const std::string& candidate_id, const Duel& duel);
  /// Both, of what was evaluated in earlier sessions.
  void take_up(const std::string& candidate_id, const std::vector<EvaluationRecord>& evaluations);

  /// What a modelled log ratio was off on average in this run's duels; before there are any, in earlier ones'.
  double mean_error() const;
  /// Empty where it has no modelled time, or would be the first of its cell: it enters that whatever its time.
  std::optional<Standing> standing(const CandidateRecord& candidate, const Elite* incumbent,
                                   const std::vector<Champion>& champions) const;

 private:
  std::optional<double> log_ratio(const std::string& candidate_id, const std::string& other_id,
                                  const std::map<std::string, double>& weights) const;

  TriageSettings settings_;
  std::map<std::string, double> weights_;
  Key key_;
  std::map<std::string, std::map<std::string, double>> modelled_us_;  // candidate id -> workload -> time
  std::set<std::string> learned_;                                     // candidates
  double error_sum_ = 0;
};

}  // namespace kernelites
