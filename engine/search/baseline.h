// SPDX-License-Identifier: Apache-2.0
// The baseline of a run: the fastest of its seeds, and what chance alone does on this device.
//
// Every seed that passed duels all others and itself, so that any of them can be the baseline. A seed that passes and
// has no time here (the virtual GPU has no model of it, a timed launch goes wrong) spoils every duel that it is an arm
// of: its own duel names it, and those that it spoilt are made again without it. If its own passes, the others name it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "archive/archive.h"
#include "engine/search/placement.h"

namespace kernelites {

/// A seed that passes its examination and is no arm of any duel: it has no time here, or was refused while timed.
struct UntimedSeed {
  std::uint64_t ordinal = 0;
  std::string id;
  std::string name;  ///< "naive.cu"
  Verdict verdict;   ///< of its own duel, or what another seed's says of it
};

struct Baseline {
  std::string id;  ///< candidate id; empty: not known
  std::uint64_t ordinal = 0;
  double null_half_width = 0;  ///< of its A/A duel: how far from zero the interval of equal arms reaches
  bool is_pending = true;      ///< some seed still has to be examined or dueled
  std::vector<UntimedSeed> untimed;
  std::uint64_t failed = 0;  ///< the first of `untimed`, else the first seed that failed; 0: none did
  std::string failure;       ///< why that one cannot be it: its file, stage and message
};

/// What the archive says.
Baseline baseline_of(const Archive& archive, const std::map<std::string, double>& weights);

/// That a run of the task cannot begin, and what to do. REQUIRES: no baseline, and one is not pending.
std::string no_baseline_words(const std::string& task, bool is_virtual, const Baseline& baseline);

/// The duel that a seed needs before there is a baseline, as `seeds` (itself too) stand; none: it waits for theirs, or
/// has had it. All that are sent in one pass have the same arms, in whatever order replies came.
std::optional<NeedsDuel> seed_duel(const Course& course, const std::vector<const Course*>& seeds);

/// "seed.cu" of what a seed's record is called.
std::string seed_name(const CandidateRecord& seed);

}  // namespace kernelites
