// SPDX-License-Identifier: Apache-2.0
// From a model's reply to a candidate's source: a whole file or edits of the parent, or a reason why it is
// neither.
//
// The text is hostile: whatever it holds, the outcome is a Proposal or a Rejection, in time linear in its
// length (edits: times the parent's), and nothing of it is interpreted.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "engine/variation/operator.h"

namespace kernelites {

inline constexpr std::size_t k_reply_bytes_max = 512 * 1024;
inline constexpr std::size_t k_summary_bytes_max = 200;

/// Reads `reply`, in the first of these forms that it has:
/// - one JSON object (json_reply.h);
/// - edits (`<<<<<<< SEARCH`, `=======`, `>>>>>>> REPLACE`), applied to `parent`;
/// - ```diff blocks, whose hunks are applied like edits;
/// - the last ```cuda block that holds a kernel, or a file in numbered parts (fenced_blocks.h).
/// The summary is the line that starts with "SUMMARY:", else the first line of prose.
/// The proposal carries no tuning: a new source starts from its declared defaults.
std::variant<Proposal, Rejection> parse_reply(std::string_view reply, const Candidate& parent);

/// True if the reply ended in the middle of a block: its continuation may mend it.
bool is_cut_off(const Rejection& rejection);

/// The cut-off reply and its continuation as one: a fence that is opened again and text that is repeated at the seam
/// go.
std::string join_cut_reply(std::string_view first, std::string_view rest);

}  // namespace kernelites
