// SPDX-License-Identifier: Apache-2.0
// The closure of a plan as tokens: its comments gone, its conditions decided, its macros replaced.
//
// This is a preprocessor of our own, for the little that plans need. What it hands on is read by plan_writer.h and
// written anew, so that nothing depends on its reading a text as a compiler would: a difference shows in the proof.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace kernelites {

struct PlanToken {
  enum class Kind { word, number, text, mark, end } kind = Kind::end;
  std::string text;  ///< of a text: what stands between the quotes
  bool operator==(const PlanToken&) const = default;
};

/// Why the text is none that a plan may have, in words.
struct TokenProblem {
  std::string words;
};

/// The tokens of `text`, ended by one of kind end. `macros`: what is defined before its first line, the tunables.
/// Conditions may ask for those and for macros of the text, and for nothing that a compiler defines.
std::variant<std::vector<PlanToken>, TokenProblem> plan_tokens(
    std::string_view text, const std::map<std::string, std::int64_t>& macros);

}  // namespace kernelites
