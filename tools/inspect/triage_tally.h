// SPDX-License-Identifier: Apache-2.0
// What became of those that the time model put far behind: what triage saved, and how often it was wrong.
#pragma once

#include <cstdint>
#include <string>

#include "archive/archive.h"
#include "engine/search/triage_settings.h"

namespace kernelites {

/// Candidates of a run so far.
struct TriageTally {
  std::int64_t modelled = 0;  ///< that stood to somebody by the model before their first duel
  std::int64_t left_out = 0;  ///< far behind, and not timed
  std::int64_t timed = 0;     ///< far behind, and timed all the same
  std::int64_t wrong = 0;     ///< of those: became elite or champion
};

/// Reads the run's events.
TriageTally triage_tally(const Archive& archive);

/// "skip: 12 of 80 modelled candidates left out; of 3 as far behind that were timed all the same 0 entered".
std::string triage_words(const TriageTally& tally, const TriageSettings& settings);

}  // namespace kernelites
