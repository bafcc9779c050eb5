// SPDX-License-Identifier: Apache-2.0
// Marked regions of a prompt file: the parts that a model may rewrite, and what a new text must keep.
//
//   <!-- evolve:advice -->          each marker alone on its line; no model that writes kernels sees them
//   ... text of the region ...
//   <!-- /evolve -->
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/variation/operator.h"

namespace kernelites {

/// Region -> its lines.
using PromptRegions = std::map<std::string, std::string>;

inline constexpr std::size_t k_region_bytes_max = 3000;

/// A stretch of a prompt's text; `region` is empty where it is fixed.
struct PromptPiece {
  std::string region;
  std::string text;
};

/// The text cut at its markers, which go. Throws ConfigError naming `where`: a region that is nested, not closed,
/// empty, too long, named twice or not as [a-z0-9_]+.
std::vector<PromptPiece> cut_at_markers(std::string_view text, const std::string& where);
std::string joined(const std::vector<PromptPiece>& pieces);
/// With the markers, for whoever rewrites.
std::string marked(const std::vector<PromptPiece>& pieces);
PromptRegions regions_of(const std::vector<PromptPiece>& pieces);

/// The regions that a reply holds: blocks fenced as "```region NAME". Rejections: no_region, unknown_region,
/// reply_is_torn, too_long, not_utf8, region_breaks_prompt (markers, fences, headings, edit marks, another set of
/// placeholders than before), no_change. Regions that the reply leaves out stay as they are.
std::variant<PromptRegions, Rejection> read_regions(std::string_view reply, const PromptRegions& now);

}  // namespace kernelites
