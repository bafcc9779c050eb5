// SPDX-License-Identifier: Apache-2.0
// What a run's past says of its arms and of stagnation: read out of the archive, as far as it has come.
//
// Nothing is stored for it. A resumed run reads the whole past once and has the state that it would have had; whole
// numbers and ordinals make the order of reading irrelevant. In a deterministic run measured seconds of the device do
// not count, since they are never the same twice.
#pragma once

#include "archive/archive.h"
#include "archive/told_rows.h"
#include "engine/search/bandit.h"
#include "engine/search/elite_gains.h"
#include "engine/search/run_config.h"
#include "engine/search/stagnation.h"

namespace kernelites {

/// The settings that it needs of a run's configuration.
struct HistorySettings {
  BanditSettings bandit;
  StagnationSettings stagnation;
  bool counts_device = true;
};

HistorySettings history_settings(const RunConfig& config);

class SearchHistory {
 public:
  /// Borrows the archive.
  SearchHistory(const Archive& archive, const HistorySettings& settings)
      : archive_(archive), settings_(settings), bandit_(settings.bandit), stagnation_(settings.stagnation) {}

  /// Reads what is there besides candidates that are told. Once, before anything else.
  void read_rejections();
  /// Takes what was told since the last call.
  void catch_up();
  /// The same as `read_rejections` and the first `catch_up`, from rows read in one go: for views of long runs.
  void take(const HistoryRows& rows);
  /// The variation ended without a candidate.
  void rejected(std::uint64_t variation);
  /// The variation submitted a candidate that had been told before.
  void handed_in(std::uint64_t variation);

  const Bandit& bandit() const { return bandit_; }
  const Stagnation& stagnation() const { return stagnation_; }

 private:
  void take_steps();
  void take_told(const CandidateRecord& record);
  void count(const ArmOfVariation& variation, const EliteGain& gain, double device_s, bool is_over);

  const Archive& archive_;
  HistorySettings settings_;
  Bandit bandit_;
  Stagnation stagnation_;
  EliteGains gains_;
  std::map<std::uint64_t, EliteGain> gain_of_;  // of candidates that entered a cell and are not yet taken
  std::int64_t step_ = 0, told_ = 0;
};

}  // namespace kernelites
