// SPDX-License-Identifier: Apache-2.0
// From a model's reply to a candidate's source: a whole file or edits of the parent, or a reason why it is
// neither.
#include "engine/variation/reply_parser.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/variation/fenced_blocks.h"
#include "engine/variation/json_reply.h"
#include "engine/variation/source_edit.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

/// A repetition at the seam of a continued reply: shorter ones can be chance.
constexpr std::size_t k_overlap_bytes_min = 8;
constexpr std::size_t k_overlap_bytes_max = 4096;

std::string summary_of(std::string_view reply) {
  constexpr std::string_view k_tag = "SUMMARY:";
  std::string first;
  bool is_inside_fence = false;
  for (std::string_view line : split_lines(reply)) {
    if (is_fence(line)) is_inside_fence = !is_inside_fence;
    if (is_inside_fence) continue;
    if (const std::size_t at = line.find(k_tag); at != std::string_view::npos && at < 8)
      return single_line(line.substr(at + k_tag.size()), k_summary_bytes_max);
    if (first.empty() && !line.empty() && line[0] != '`' && line[0] != '<')
      first = single_line(line, k_summary_bytes_max);
  }
  return first;
}

std::variant<Proposal, Rejection> proposal_of(std::string_view text, std::string summary,
                                              const Candidate& parent) {
  const std::string source = with_unix_newlines(text);
  if (source.size() > k_source_bytes_max)
    return Rejection{"source_too_long", fmt::format("the file has {} bytes, at most {} are allowed",
                                                    source.size(), k_source_bytes_max)};
  if (!is_clean_utf8(source)) return Rejection{"not_utf8", "the file is not plain UTF-8 text"};
  if (source.find("__global__") == std::string::npos)
    return Rejection{"no_kernel", "the file holds no __global__ kernel; send the whole file"};
  if (source == with_unix_newlines(parent.source))
    return Rejection{"no_change", "the file is the parent unchanged"};
  return Proposal{.candidate = {.source = source, .tuning = {}}, .summary = std::move(summary)};
}

/// Edits, a diff or a whole file.
std::variant<std::string, Rejection> text_of(std::string_view reply, const Candidate& parent) {
  for (const auto read : {read_edits, read_diff}) {
    auto edits = read(reply);
    if (auto* rejection = std::get_if<Rejection>(&edits)) return *rejection;
    const auto& list = std::get<std::vector<SourceEdit>>(edits);
    if (!list.empty()) return apply_edits(parent.source, list);
  }
  return file_of_blocks(reply);
}

}  // namespace

std::variant<Proposal, Rejection> parse_reply(std::string_view reply, const Candidate& parent) {
  if (reply.size() > k_reply_bytes_max)
    return Rejection{"too_long", fmt::format("the reply has {} bytes, at most {} are read", reply.size(),
                                             k_reply_bytes_max)};
  if (!is_clean_utf8(reply)) return Rejection{"not_utf8", "the reply is not plain UTF-8 text"};

  if (auto json = read_json_reply(reply)) {
    if (auto* rejection = std::get_if<Rejection>(&*json)) return std::move(*rejection);
    JsonReply& object = std::get<JsonReply>(*json);
    std::string summary = single_line(object.summary, k_summary_bytes_max);
    if (object.source) return proposal_of(*object.source, std::move(summary), parent);
    auto text = apply_edits(parent.source, object.edits);
    if (auto* rejection = std::get_if<Rejection>(&text)) return std::move(*rejection);
    return proposal_of(std::get<std::string>(text), std::move(summary), parent);
  }
  auto text = text_of(reply, parent);
  if (auto* rejection = std::get_if<Rejection>(&text)) return std::move(*rejection);
  return proposal_of(std::get<std::string>(text), summary_of(reply), parent);
}

bool is_cut_off(const Rejection& rejection) {
  return rejection.reason == "reply_is_torn" || rejection.reason == "edit_is_torn";
}

std::string join_cut_reply(std::string_view first, std::string_view rest) {
  // A model that goes on often opens the block again and repeats what it was writing.
  const std::vector<FencedBlock> blocks = fenced_blocks(first);
  const bool is_open = !blocks.empty() && !blocks.back().is_closed;
  const std::size_t start = rest.find_first_not_of("\r\n");
  if (start == std::string_view::npos) return std::string(first);
  const std::size_t end = rest.find('\n', start);
  const std::string_view line = rest.substr(start, end - start);
  if (is_open && is_fence(line)) {
    const bool closes = single_line(line, 80).find_first_not_of('`') == std::string::npos;
    const bool has_more = end != std::string_view::npos && rest.find("```", end) != std::string_view::npos;
    if (!closes || has_more) rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  for (std::size_t shared = std::min({first.size(), rest.size(), k_overlap_bytes_max});
       shared >= k_overlap_bytes_min; --shared)
    if (first.substr(first.size() - shared) == rest.substr(0, shared)) {
      rest.remove_prefix(shared);
      break;
    }
  return std::string(first).append(rest);
}

}  // namespace kernelites
