// SPDX-License-Identifier: Apache-2.0
// From a model's reply to a candidate's source: a whole file or edits of the parent, or a reason why it is
// neither.
//
// The text is hostile: whatever it holds, the outcome is a Proposal or a Rejection, in time linear in its
// length (edits: times the parent's), and nothing of it is interpreted.
#pragma once

#include <string_view>
#include <variant>

#include "engine/variation/operator.h"

namespace kernelites {

inline constexpr std::size_t k_reply_bytes_max = 512 * 1024;
inline constexpr std::size_t k_summary_bytes_max = 200;

/// Reads `reply`:
/// - edits (`<<<<<<< SEARCH`, `=======`, `>>>>>>> REPLACE`) are applied to `parent`;
/// - else the last ```cuda block that holds a kernel is the whole file.
/// The summary is the line that starts with "SUMMARY:", else the first line of prose.
/// The proposal carries no tuning: a new source starts from its declared defaults.
std::variant<Proposal, Rejection> parse_reply(std::string_view reply, const Candidate& parent);

}  // namespace kernelites
