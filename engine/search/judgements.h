// SPDX-License-Identifier: Apache-2.0
// What a model said about winners: events of the run, told by number of candidate.
//
//   {"event": "judged", "ordinal": 7, "grounds": ["large_gain"], "opinion": "flagged", "reason": "skips_work",
//    "lines": [12], "model": "..."}
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "archive/archive.h"
#include "engine/variation/judge.h"

namespace kernelites {

inline constexpr const char* k_opinion_flagged = "flagged";
inline constexpr const char* k_opinion_clean = "clean";
inline constexpr const char* k_opinion_none = "none";  ///< the answer was none, or not as it was asked for

struct Judgement {
  std::uint64_t ordinal = 0;
  std::vector<std::string> grounds;  ///< why somebody was asked
  std::string opinion = k_opinion_none;
  std::string reason;
  std::vector<int> lines;
  std::string model;
  bool operator==(const Judgement&) const = default;
};

Judgement judgement_of(std::uint64_t ordinal, const std::vector<std::string>& grounds,
                       const std::optional<Opinion>& opinion, const std::string& model);
Json event_of(const Judgement& judgement);
/// All of a run, oldest first. An event that is no judgement is passed over.
std::vector<Judgement> judgements(const Archive& archive);
/// "flagged: skips_work, lines 12 13 (asked because of large_gain)"; empty where nobody was asked about `ordinal`.
std::string judgement_words(const Archive& archive, std::uint64_t ordinal);
/// The same of judgements that were read before: of many candidates each event is read once.
std::string judgement_words(const std::vector<Judgement>& known, std::uint64_t ordinal);

}  // namespace kernelites
