// SPDX-License-Identifier: Apache-2.0
// Where a run stands, summed up from its events: what a view that is redrawn shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <set>
#include <string>

#include "engine/core/json.h"

namespace kernelites {

/// One result in a line.
struct ResultLine {
  std::string words;
  bool is_elite = false;
};

/// Results that are remembered.
inline constexpr std::size_t k_results_kept = 8;

struct RunProgress {
  std::string task, device, endpoint;
  std::string state = "starting";  ///< starting, running, stopping, stopped
  std::string end;                 ///< why it stopped
  bool is_resumed = false;
  int told = 0;                                                ///< seeds included
  int told_before = 0;                                         ///< in earlier sessions
  int seeds = 0;                                               ///< of those told
  int failed = 0, refused = 0, duplicates = 0, incidents = 0;  ///< of this session
  std::set<std::uint64_t> under_way;                           ///< variations asked for and not over
  std::size_t elites = 0;
  double coverage = 0, qd_score = 0, best_speedup = 0;
  double usd = 0, device_s = 0;  ///< device_s: of this session
  double time_s = 0;             ///< since this session began
  double best_time_s = -1;       ///< when the best came; -1: not in this session
  std::string last_incident;
  std::deque<ResultLine> results;  ///< the newest last

  /// Takes in one event of the run.
  void take(const Json& event);
  /// Candidates a minute, of this session.
  double rate() const { return time_s > 0 ? 60 * (told - told_before) / time_s : 0; }
};

}  // namespace kernelites
