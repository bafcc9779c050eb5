// SPDX-License-Identifier: Apache-2.0
// From a model's reply to a candidate's source: a whole file or edits of the parent, or a reason why it is
// neither.
#include "engine/variation/reply_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "engine/variation/source_edit.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

/// A fenced block: what stands after the opening fence, and its lines.
struct Block {
  std::string language;
  std::string text;
  bool is_closed = false;
};

/// Length of the fence at the start of `line` (three or more backticks, at most three blanks before them),
/// else 0.
std::size_t fence_length(std::string_view line, std::string_view* rest) {
  std::size_t at = 0;
  while (at < line.size() && at < 3 && line[at] == ' ') ++at;
  std::size_t ticks = 0;
  while (at + ticks < line.size() && line[at + ticks] == '`') ++ticks;
  if (ticks < 3) return 0;
  *rest = line.substr(at + ticks);
  return ticks;
}

std::vector<Block> fenced_blocks(std::string_view reply) {
  std::vector<Block> blocks;
  std::size_t open_ticks = 0;
  for (std::string_view line : split_lines(reply)) {
    std::string_view rest;
    const std::size_t ticks = fence_length(line, &rest);
    if (open_ticks == 0) {
      if (ticks == 0) continue;
      open_ticks = ticks;
      blocks.push_back({.language = single_line(rest.substr(0, 40), 40)});
    } else if (ticks >= open_ticks && single_line(rest, 8).empty()) {
      blocks.back().is_closed = true;
      open_ticks = 0;
    } else {
      blocks.back().text.append(line).append("\n");
    }
  }
  return blocks;
}

bool is_cuda(std::string_view language) {
  static constexpr std::array<std::string_view, 6> k_names{"cuda", "cu", "cpp", "c++", "c", ""};
  return std::find(k_names.begin(), k_names.end(), language) != k_names.end();
}

std::variant<std::string, Rejection> whole_file(std::string_view reply) {
  const std::vector<Block> blocks = fenced_blocks(reply);
  if (blocks.empty())
    return Rejection{"no_code_block", "the reply has neither a ```cuda block nor SEARCH/REPLACE edits"};
  if (!blocks.back().is_closed)
    return Rejection{"reply_is_torn",
                     "the last code block is not closed: the reply was cut off; write a shorter file "
                     "or use SEARCH/REPLACE edits"};
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block)
    if (is_cuda(block->language) && block->text.find("__global__") != std::string::npos) return block->text;
  return Rejection{"no_kernel",
                   "no ```cuda block of the reply holds a __global__ kernel; send the whole file"};
}

std::string summary_of(std::string_view reply) {
  constexpr std::string_view k_tag = "SUMMARY:";
  std::string first;
  bool is_inside_fence = false;
  for (std::string_view line : split_lines(reply)) {
    std::string_view rest;
    if (fence_length(line, &rest) > 0) is_inside_fence = !is_inside_fence;
    if (is_inside_fence) continue;
    if (const std::size_t at = line.find(k_tag); at != std::string_view::npos && at < 8)
      return single_line(line.substr(at + k_tag.size()), k_summary_bytes_max);
    if (first.empty() && !line.empty() && line[0] != '`' && line[0] != '<')
      first = single_line(line, k_summary_bytes_max);
  }
  return first;
}

}  // namespace

std::variant<Proposal, Rejection> parse_reply(std::string_view reply, const Candidate& parent) {
  if (reply.size() > k_reply_bytes_max)
    return Rejection{"too_long", fmt::format("the reply has {} bytes, at most {} are read", reply.size(),
                                             k_reply_bytes_max)};
  if (!is_clean_utf8(reply)) return Rejection{"not_utf8", "the reply is not plain UTF-8 text"};

  auto edits = read_edits(reply);
  if (auto* rejection = std::get_if<Rejection>(&edits)) return *rejection;
  const auto& list = std::get<std::vector<SourceEdit>>(edits);
  auto text = list.empty() ? whole_file(reply) : apply_edits(parent.source, list);
  if (auto* rejection = std::get_if<Rejection>(&text)) return *rejection;

  const std::string source = with_unix_newlines(std::get<std::string>(text));
  if (source.size() > k_source_bytes_max)
    return Rejection{"source_too_long", fmt::format("the file has {} bytes, at most {} are allowed",
                                                    source.size(), k_source_bytes_max)};
  if (source == with_unix_newlines(parent.source))
    return Rejection{"no_change", "the file is the parent unchanged"};
  return Proposal{.candidate = {.source = source, .tuning = {}}, .summary = summary_of(reply)};
}

}  // namespace kernelites
