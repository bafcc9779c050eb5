// SPDX-License-Identifier: Apache-2.0
// Cutting a prompt into pieces, and reading new texts for some of them.
#include "engine/variation/prompt_regions.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/variation/fenced_blocks.h"
#include "engine/variation/prompt_template.h"
#include "engine/variation/reply_parser.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

constexpr std::string_view k_open = "<!-- evolve:", k_open_end = " -->", k_close = "<!-- /evolve -->";

bool is_region_name(std::string_view name) {
  return !name.empty() && name.size() <= 32 &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string_view::npos;
}

/// Opens a region named by the marker `line`.
PromptPiece opened(std::string_view line, const std::vector<PromptPiece>& before, const std::string& where) {
  line.remove_prefix(k_open.size());
  if (!line.ends_with(k_open_end)) throw ConfigError(where, "evolve", "expected <!-- evolve:NAME -->");
  line.remove_suffix(k_open_end.size());
  const auto has_name = [&](const PromptPiece& piece) { return piece.region == line; };
  if (!is_region_name(line) || std::any_of(before.begin(), before.end(), has_name))
    throw ConfigError(where, "evolve",
                      fmt::format("\"{}\" is no name of letters, digits and _ that is used once", line));
  return {.region = std::string(line), .text = {}};
}

void check_closed(const PromptPiece& piece, const std::string& where) {
  if (piece.text.find_first_not_of(" \n\t") == std::string::npos)
    throw ConfigError(where, piece.region, "the region has no text");
  if (piece.text.size() > k_region_bytes_max)
    throw ConfigError(where, piece.region,
                      fmt::format("the region has more than {} bytes", k_region_bytes_max));
}

/// Why a text cannot stand in a prompt; "" if it can.
std::string fault_of(std::string_view text) {
  for (const std::string_view line : split_lines(text)) {
    if (line.find("<!--") != std::string_view::npos) return "it holds a comment of the markers' kind";
    if (is_fence(line)) return "it holds a code fence";
    if (line.starts_with("#")) return "it holds a heading";
    if (line.starts_with("---")) return "it holds a line of dashes";
    if (line.starts_with("<<<<<") || line.starts_with(">>>>>") || line.starts_with("====="))
      return "it holds marks of edits";
    if (line.starts_with("SUMMARY:")) return "it holds a line of the reply format";
  }
  return "";
}

std::optional<Rejection> fault_of_region(const std::string& name, const std::string& text,
                                         const std::string& before) {
  if (text.size() > k_region_bytes_max)
    return Rejection{"too_long", fmt::format("region {} has {} bytes, at most {} are allowed", name,
                                             text.size(), k_region_bytes_max)};
  if (text.find_first_not_of(" \n\t") == std::string::npos)
    return Rejection{"no_region", fmt::format("region {} is empty", name)};
  if (const std::string fault = fault_of(text); !fault.empty())
    return Rejection{"region_breaks_prompt", fmt::format("region {} cannot be used: {}", name, fault)};
  if (placeholders_in(text) != placeholders_in(before))
    return Rejection{
        "region_breaks_prompt",
        fmt::format("region {} must hold the {{{{placeholders}}}} of the present text and no others", name)};
  return std::nullopt;
}

}  // namespace

std::vector<PromptPiece> cut_at_markers(std::string_view text, const std::string& where) {
  std::vector<PromptPiece> pieces{{}};
  for (const std::string_view line : split_lines(text)) {
    const bool is_inside = !pieces.back().region.empty();
    if (line.starts_with(k_open)) {
      if (is_inside) throw ConfigError(where, pieces.back().region, "a region begins inside this one");
      pieces.push_back(opened(line, pieces, where));
    } else if (line == k_close) {
      if (!is_inside) throw ConfigError(where, "evolve", "a region ends that did not begin");
      check_closed(pieces.back(), where);
      pieces.push_back({});
    } else {
      pieces.back().text.append(line).append("\n");
    }
  }
  if (!pieces.back().region.empty())
    throw ConfigError(where, pieces.back().region, "the region is not closed");
  return pieces;
}

std::string joined(const std::vector<PromptPiece>& pieces) {
  std::string text;
  for (const PromptPiece& piece : pieces) text += piece.text;
  return text;
}

std::string marked(const std::vector<PromptPiece>& pieces) {
  std::string text;
  for (const PromptPiece& piece : pieces) {
    if (!piece.region.empty()) text.append(k_open).append(piece.region).append(k_open_end).append("\n");
    text += piece.text;
    if (!piece.region.empty()) text.append(k_close).append("\n");
  }
  return text;
}

PromptRegions regions_of(const std::vector<PromptPiece>& pieces) {
  PromptRegions regions;
  for (const PromptPiece& piece : pieces)
    if (!piece.region.empty()) regions[piece.region] = piece.text;
  return regions;
}

std::variant<PromptRegions, Rejection> read_regions(std::string_view reply, const PromptRegions& now) {
  if (reply.size() > k_reply_bytes_max) return Rejection{"too_long", "the reply is too long"};
  if (!is_clean_utf8(reply)) return Rejection{"not_utf8", "the reply is not plain UTF-8 text"};
  PromptRegions regions = now;
  bool is_any = false;
  for (const FencedBlock& block : fenced_blocks(reply)) {
    if (block.language != "region") continue;
    if (!block.is_closed) return Rejection{"reply_is_torn", "the reply ended inside a region"};
    const std::string name = single_line(block.title, 64);
    const auto before = now.find(name);
    if (before == now.end())
      return Rejection{"unknown_region", fmt::format("there is no region \"{}\" in the prompt", name)};
    const std::string text = with_unix_newlines(block.text);
    if (auto fault = fault_of_region(name, text, before->second)) return *fault;
    regions[name] = text;
    is_any = true;
  }
  if (!is_any) return Rejection{"no_region", "the reply holds no block that begins with ```region NAME"};
  if (regions == now) return Rejection{"no_change", "the regions are as they were"};
  return regions;
}

}  // namespace kernelites
