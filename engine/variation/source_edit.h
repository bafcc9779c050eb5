// SPDX-License-Identifier: Apache-2.0
// SEARCH/REPLACE edits of a source: reading them out of a reply and applying them to the parent.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/variation/operator.h"

namespace kernelites {

/// Replace the only place that reads `search` by `replace`. Both end in a newline unless empty.
struct SourceEdit {
  std::string search;
  std::string replace;
  bool operator==(const SourceEdit&) const = default;
};

inline constexpr std::size_t k_edits_max = 32;

/// The edits of a reply, in its order; empty if it has none. A reply that ends inside a block is a Rejection
/// ("edit_is_torn"), a block without divider or within another one is ("edit_is_malformed"), and so are more than
/// k_edits_max ("too_many_edits").
std::variant<std::vector<SourceEdit>, Rejection> read_edits(std::string_view reply);

/// The hunks of a reply's ```diff blocks as edits, in its order; empty if it has none. Line numbers are not used: a
/// hunk must fit one place by its lines.
std::variant<std::vector<SourceEdit>, Rejection> read_diff(std::string_view reply);

/// Applies the edits one after the other. Each must fit exactly one place: first as written, then with blanks at both
/// ends of lines and runs of blanks ignored, then with empty lines ignored too, then as a part of lines that cuts no
/// word (both texts without their last newline). Otherwise a Rejection names the edit and what is wrong:
/// edit_search_is_empty, edit_is_ambiguous (with the lines where it fits), edit_does_not_apply (with the nearest text).
std::variant<std::string, Rejection> apply_edits(std::string_view source,
                                                 const std::vector<SourceEdit>& edits);

/// The lines of `source` that most resemble `search`, with their numbers; empty if nothing does.
std::string nearest_text(std::string_view source, std::string_view search);

}  // namespace kernelites
