// SPDX-License-Identifier: Apache-2.0
// Values of the tunables that a source declares: complete, default, allowed, and the neighbours of a choice.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/candidate.h"

namespace kernelites {

using Tuning = std::map<std::string, std::int64_t>;

/// `candidate` with exactly the tunables that its source declares: missing ones get their default, unknown
/// ones go. Two candidates that compile alike thus have one id.
Candidate with_full_tuning(Candidate candidate);

/// The source with each choice as the default of its tunable, first in its line: read as a file with no choices it is
/// the same kernel. All else stays as it is.
std::string source_with_choices(const Candidate& candidate);

/// What `// where: WARPS * 32 * ROWS <= 1024` says of tunables: choices for which it does not hold are never tried.
/// Both sides are formulas (engine/core/formula.h), between them <=, >=, <, >, == or !=.
struct TuningRule {
  std::string left, comparison, right;
  bool operator==(const TuningRule&) const = default;
};
inline constexpr std::size_t k_tuning_rules_max = 32;

/// The rules of `source`. Malformed lines, and rules that name what is no tunable, are reported in `problems` (one
/// sentence each) and skipped.
std::vector<TuningRule> parse_tuning_rules(std::string_view source,
                                           std::vector<std::string>* problems = nullptr);
/// REQUIRES: `tuning` is complete.
bool is_allowed(const std::vector<TuningRule>& rules, const Tuning& tuning);

/// All tunings that differ from `from` in one declared tunable (`changes` = 1) or in two (`changes` = 2), in
/// a fixed order, at most `count_max`. REQUIRES: `from` is complete.
std::vector<Tuning> neighbours(const std::vector<Tunable>& tunables, const Tuning& from, int changes,
                               std::size_t count_max);

/// "BM 16 -> 32, BN 64 -> 128"; "" if nothing differs. REQUIRES: both are complete.
std::string describe_change(const Tuning& from, const Tuning& to);

}  // namespace kernelites
