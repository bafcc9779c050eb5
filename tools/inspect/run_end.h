// SPDX-License-Identifier: Apache-2.0
// Whether a run still goes on, and why it ended if not: for the first screen, the morning text and `status`.
#pragma once

#include <string>
#include <vector>

#include "archive/database.h"
#include "archive/records.h"
#include "engine/search/run_config.h"

namespace kernelites {

/// Event of a run's beginning: {"seeds": names of the task's seeds that it does not begin with}.
inline constexpr const char* k_seeds_left_out = "seeds_left_out";
/// Their names, as it recorded them; empty: none, or an older version ran.
std::vector<std::string> seeds_left_out(Database& rows);

struct RunEnd {
  std::string state;   ///< as recorded, but "gone" where it says "running" and no process writes the run
  std::string reason;  ///< code of why it ended ("budget", "barren", "trouble", ...); empty: it goes on
  std::string
      words;  ///< one clause: "ended barren after 22 of 40 candidates: ..."; empty: there is nothing to say
};

/// `rows` is a connection to the run's file.
RunEnd run_end(Database& rows, const std::string& folder, const RunRecord& run, const Spent& spent,
               const RunConfig& config);

}  // namespace kernelites
