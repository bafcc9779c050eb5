// SPDX-License-Identifier: Apache-2.0
// The one data path of a run, on one thread: select, propose, admit, examine, place, duel, tell.
//
// The archive is the only state: a loop that is built over an archive with a history goes on where that stopped.
#pragma once

#include <optional>
#include <string>

#include "engine/search/open_candidates.h"
#include "engine/search/open_variations.h"
#include "engine/search/run_parts.h"

namespace kernelites {

/// Why a run ended.
enum class StopReason {
  budget,       ///< a limit is reached
  exhausted,    ///< nothing left to try: no model, and every elite's tunables are swept
  barren,       ///< too many variations in a row gave no candidate
  stagnated,    ///< no faster elite for as long as the run has patience
  steered,      ///< steer.json says so
  interrupted,  ///< the user's wish
  waiting       ///< only batch replies, or a person's answers, can bring it on
};
const char* stop_reason_name(StopReason reason);
/// What brings a run on that ended so, in words.
const char* way_on(StopReason reason);

struct LoopEnd {
  StopReason reason = StopReason::budget;
  std::string detail;  ///< which budget, what the last rejection was
};

class Loop {
 public:
  explicit Loop(RunParts& parts);

  /// Records the seeds if the run is new, then works until it must stop. Throws Error if the run is in trouble; the
  /// archive is consistent then and the same call goes on later.
  LoopEnd run();

  const Grid& grid() const { return candidates_.grid(); }

 private:
  void start();
  void record_seeds();
  void steer();
  bool receive();
  bool pass_inside();
  bool progress();
  void ask();
  bool may_ask() const;
  bool may_send() const;
  std::string time_budget_used() const;
  std::uint64_t completed() const;
  std::optional<LoopEnd> ending();
  void wait();
  void update_wall_clock();
  Spent spent() const;

  RunParts& parts_;
  Announcer announcer_;
  OpenVariations variations_;
  OpenCandidates candidates_;
  SteerFile steer_file_;
  double earlier_wall_s_ = 0;
  double recorded_wall_s_ = 0;
  double synced_s_ = 0;
  double interrupted_at_s_ = -1;  // negative: not interrupted
  double over_since_s_ = -1;      // since when a budget forbids sending
  bool has_nothing_to_ask_ = false;
};

}  // namespace kernelites
