// SPDX-License-Identifier: Apache-2.0
// What a view of a whole run needs of every candidate, without what is long: sources, prompts, replies, bodies.
//
// Plain reading of run.db beside the process that writes it: ten thousand candidates take hundredths of a second, since
// the long texts are never touched.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "archive/database.h"

namespace kernelites {

/// One candidate and who it came from.
struct BriefCandidate {
  std::uint64_t ordinal = 0;
  std::optional<std::uint64_t> parent;  ///< the first; none: a seed
  std::string operator_name;
  std::string outcome;    ///< empty: not told yet
  std::int64_t told = 0;  ///< 1, 2, ... in the order told; 0: not told
};

/// How many told candidates failed where and why.
struct FailureCount {
  std::string stage;
  std::string reason;
  std::int64_t count = 0;
};

/// All of it. Of one instant where the connection is Archive::snapshot().
struct BriefRows {
  std::vector<BriefCandidate> candidates;          ///< by ordinal
  std::map<std::string, std::int64_t> outcomes;    ///< told candidates by what became of them
  std::vector<FailureCount> failures;              ///< of outcome "failed", most frequent first
  std::map<std::string, std::int64_t> rejections;  ///< replies that held no candidate, by reason
  std::vector<std::string> judged;                 ///< events of that name, as JSON: opinions of winners
  std::int64_t last_event = 0;                     ///< sequence of the newest event
};

/// Throws Error if the database fails.
BriefRows read_brief_rows(Database& database);

/// A number that changes whenever a run has written something: what a live view compares before it reads again.
std::int64_t run_revision(Database& database);

}  // namespace kernelites
