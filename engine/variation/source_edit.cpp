// SPDX-License-Identifier: Apache-2.0
// SEARCH/REPLACE edits of a source: reading them out of a reply and applying them to the parent.
#include "engine/variation/source_edit.h"

#include <fmt/format.h>

#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

/// True for a marker line: at least five of `mark`, then `word` (or nothing else if `word` is empty).
bool is_marker(std::string_view line, char mark, std::string_view word) {
  std::size_t marks = 0;
  while (marks < line.size() && line[marks] == mark) ++marks;
  if (marks < 5) return false;
  line.remove_prefix(marks);
  while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
  while (!line.empty() && (line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
  return line == word;
}

/// The line without blanks at its ends and with every run of blanks as one.
std::string squeezed(std::string_view line) { return single_line(line, line.size()); }

/// First byte of the text's lines, and one past the end.
std::vector<std::size_t> line_starts(std::string_view text) {
  std::vector<std::size_t> starts{0};
  for (std::size_t i = 0; i < text.size(); ++i)
    if (text[i] == '\n') starts.push_back(i + 1);
  if (starts.back() != text.size()) starts.push_back(text.size());
  return starts;
}

struct Place {
  std::size_t begin = 0;
  std::size_t end = 0;
};

struct Places {
  std::size_t count = 0;
  Place first;
};

Places find_exactly(std::string_view text, std::string_view search) {
  Places places;
  for (std::size_t at = text.find(search); at != std::string_view::npos; at = text.find(search, at + 1)) {
    // Whole lines only: `search` ends in a newline, so only its beginning can lie inside a line.
    if (at != 0 && text[at - 1] != '\n') continue;
    if (places.count++ == 0) places.first = {at, at + search.size()};
  }
  return places;
}

Places find_ignoring_blanks(std::string_view text, std::string_view search) {
  std::vector<std::string> wanted;
  for (std::string_view line : split_lines(search)) wanted.push_back(squeezed(line));
  while (!wanted.empty() && wanted.front().empty()) wanted.erase(wanted.begin());
  while (!wanted.empty() && wanted.back().empty()) wanted.pop_back();
  std::vector<std::string> have;
  for (std::string_view line : split_lines(text)) have.push_back(squeezed(line));
  const std::vector<std::size_t> starts = line_starts(text);
  Places places;
  if (wanted.empty()) return places;
  for (std::size_t at = 0; at + wanted.size() <= have.size(); ++at) {
    if (!std::equal(wanted.begin(), wanted.end(), have.begin() + static_cast<std::ptrdiff_t>(at))) continue;
    if (places.count++ == 0) places.first = {starts[at], starts[at + wanted.size()]};
  }
  return places;
}

Rejection does_not_fit(std::size_t number, const SourceEdit& edit, std::size_t places) {
  const std::string start = single_line(edit.search, 80);
  if (places > 1)
    return {"edit_is_ambiguous",
            fmt::format("edit {}: its SEARCH text (\"{}\") occurs {} times in the parent; "
                        "quote more lines so that it occurs once",
                        number, start, places)};
  return {"edit_does_not_apply",
          fmt::format("edit {}: its SEARCH text (\"{}\") is not in the parent; copy the lines "
                      "literally, or send the whole file",
                      number, start)};
}

}  // namespace

std::variant<std::vector<SourceEdit>, Rejection> read_edits(std::string_view reply) {
  enum class In { text, search, replace } state = In::text;
  std::vector<SourceEdit> edits;
  SourceEdit edit;
  const auto torn = [&](std::string_view what) {
    return Rejection{"edit_is_torn", fmt::format("edit {}: {}", edits.size() + 1, what)};
  };
  for (std::string_view line : split_lines(reply)) {
    if (is_marker(line, '<', "SEARCH")) {
      if (state != In::text) return torn("a second SEARCH marker comes before its REPLACE marker");
      if (edits.size() == k_edits_max)
        return Rejection{"too_many_edits",
                         fmt::format("more than {} edits; send the whole file", k_edits_max)};
      edit = {};
      state = In::search;
    } else if (state == In::search && is_marker(line, '=', "")) {
      state = In::replace;
    } else if (state == In::search && is_marker(line, '>', "REPLACE")) {
      return torn("there is no line ======= between SEARCH and REPLACE");
    } else if (state == In::replace && is_marker(line, '>', "REPLACE")) {
      edits.push_back(edit);
      state = In::text;
    } else if (state != In::text) {
      (state == In::search ? edit.search : edit.replace).append(line).append("\n");
    }
  }
  if (state != In::text) return torn("the reply ends before its REPLACE marker");
  return edits;
}

std::variant<std::string, Rejection> apply_edits(std::string_view source,
                                                 const std::vector<SourceEdit>& edits) {
  std::string text = with_unix_newlines(source);
  for (std::size_t i = 0; i < edits.size(); ++i) {
    const SourceEdit& edit = edits[i];
    if (squeezed(edit.search).empty())
      return Rejection{"edit_search_is_empty", fmt::format("edit {}: its SEARCH text is empty", i + 1)};
    Places places = find_exactly(text, edit.search);
    if (places.count == 0) places = find_ignoring_blanks(text, edit.search);
    if (places.count != 1) return does_not_fit(i + 1, edit, places.count);
    text.replace(places.first.begin, places.first.end - places.first.begin, edit.replace);
    if (text.size() > 2 * k_source_bytes_max)
      break;  // the caller refuses it; 32 edits cannot grow it further
  }
  return text;
}

}  // namespace kernelites
