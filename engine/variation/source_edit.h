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

/// The edits of a reply, in its order; empty if it has none. A block that is opened and not closed, or has no
/// divider, is a Rejection ("edit_is_torn"), and so are more than k_edits_max ("too_many_edits").
std::variant<std::vector<SourceEdit>, Rejection> read_edits(std::string_view reply);

/// Applies the edits one after the other. Each must fit exactly one place: first as written, then with blanks
/// at both ends of lines and runs of blanks ignored. Otherwise a Rejection names the edit and what is wrong
/// with it.
std::variant<std::string, Rejection> apply_edits(std::string_view source,
                                                 const std::vector<SourceEdit>& edits);

}  // namespace kernelites
