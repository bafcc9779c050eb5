// SPDX-License-Identifier: Apache-2.0
// A change between two candidates for people and as JSON.
#pragma once

#include <cstddef>
#include <string>

#include "tools/inspect/candidate_change.h"

namespace kernelites {

/// From this width on two sources stand side by side.
inline constexpr std::size_t k_side_by_side_columns = 120;

struct ChangeView {
  std::size_t columns = 80;
  bool has_color = false;
  std::size_t context = 3;  ///< unchanged lines around a change
};

/// Times, then what differs in tunables, plan, code and counters, then the sources.
std::string change_text(const CandidateChange& change, const ChangeView& view);
/// The sources alone: unified, or side by side where the view is wide enough.
std::string source_change_text(const CandidateChange& change, const ChangeView& view);
Json change_json(const CandidateChange& change);

/// "1.083x [1.071, 1.095]": how much faster, from a ratio of times; of a modelled one, which has no spread, "1.083x".
std::string gain_text(const PairedRatio& ratio, bool is_modelled);
/// {"speedup", "low", "high", "confidence", "rounds"}.
Json gain_json(const PairedRatio& ratio);
/// A number with up to four digits and a unit that people read: "289 MB", "33.1 %", "30.4 M instructions".
std::string amount_text(double value, const std::string& unit);

}  // namespace kernelites
