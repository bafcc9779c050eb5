// SPDX-License-Identifier: Apache-2.0
// SEARCH/REPLACE edits of a source: reading them out of a reply and applying them to the parent.
#include "engine/variation/source_edit.h"

#include <fmt/format.h>

#include <algorithm>
#include <bitset>
#include <cctype>

#include "engine/variation/fenced_blocks.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

constexpr std::size_t k_places_kept = 4;
/// Lines of the nearest text that are quoted, and lines of a search text that are compared to find it.
constexpr std::size_t k_nearest_lines_max = 12;
constexpr std::size_t k_nearest_bytes_max = 900;
constexpr double k_likeness_min = 0.5;

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

/// Where a search text fits; of many places only the first few are kept.
struct Places {
  std::size_t count = 0;
  std::vector<Place> first;

  void add(Place place) {
    if (++count <= k_places_kept) first.push_back(place);
  }
};

Places find_exactly(std::string_view text, std::string_view search) {
  Places places;
  for (std::size_t at = text.find(search); at != std::string_view::npos; at = text.find(search, at + 1)) {
    // Whole lines only: `search` ends in a newline, so only its beginning can lie inside a line.
    if (at != 0 && text[at - 1] != '\n') continue;
    places.add({at, at + search.size()});
  }
  return places;
}

/// A line with its blanks squeezed, and where it lies.
struct Line {
  std::string text;
  Place place;
};

std::vector<Line> squeezed_lines(std::string_view text, bool keeps_empty) {
  std::vector<Line> lines;
  const std::vector<std::size_t> starts = line_starts(text);
  std::size_t number = 0;
  for (std::string_view line : split_lines(text)) {
    const Place place{starts[number], starts[number + 1]};
    ++number;
    std::string squeezed_line = squeezed(line);
    if (keeps_empty || !squeezed_line.empty()) lines.push_back({std::move(squeezed_line), place});
  }
  return lines;
}

Places find_ignoring_blanks(std::string_view text, std::string_view search, bool keeps_empty) {
  std::vector<Line> wanted = squeezed_lines(search, keeps_empty);
  while (!wanted.empty() && wanted.front().text.empty()) wanted.erase(wanted.begin());
  while (!wanted.empty() && wanted.back().text.empty()) wanted.pop_back();
  const std::vector<Line> have = squeezed_lines(text, keeps_empty);
  Places places;
  if (wanted.empty()) return places;
  const auto is_equal = [](const Line& a, const Line& b) { return a.text == b.text; };
  for (std::size_t at = 0; at + wanted.size() <= have.size(); ++at)
    if (std::equal(wanted.begin(), wanted.end(), have.begin() + static_cast<std::ptrdiff_t>(at), is_equal))
      places.add({have[at].place.begin, have[at + wanted.size() - 1].place.end});
  return places;
}

std::string_view without_last_newline(std::string_view text) {
  return text.ends_with('\n') ? text.substr(0, text.size() - 1) : text;
}

bool is_word(char letter) { return std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '_'; }

/// Wherever in a line, but never a part of a word: `max = 1` does not read `x = 1`.
Places find_within_lines(std::string_view text, std::string_view search) {
  Places places;
  if (search.empty()) return places;
  for (std::size_t at = text.find(search); at != std::string_view::npos; at = text.find(search, at + 1)) {
    const std::size_t end = at + search.size();
    const bool cuts_first = at > 0 && is_word(text[at - 1]) && is_word(search.front());
    const bool cuts_last = end < text.size() && is_word(search.back()) && is_word(text[end]);
    if (!cuts_first && !cuts_last) places.add({at, end});
  }
  return places;
}

std::size_t line_number(std::string_view text, std::size_t at) {
  return 1 + static_cast<std::size_t>(
                 std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
}

Rejection does_not_fit(std::size_t number, const SourceEdit& edit, std::string_view text,
                       const Places& places) {
  const std::string start = single_line(edit.search, 80);
  if (places.count > 1) {
    std::string lines;
    for (const Place& place : places.first)
      lines += fmt::format("{}{}", lines.empty() ? "" : ", ", line_number(text, place.begin));
    return {
        "edit_is_ambiguous",
        fmt::format("edit {}: its SEARCH text (\"{}\") occurs {} times in the file (at lines {}{}); "
                    "quote more lines so that it occurs once",
                    number, start, places.count, lines, places.count > places.first.size() ? ", ..." : "")};
  }
  const std::string nearest = nearest_text(text, edit.search);
  return {"edit_does_not_apply",
          fmt::format(
              "edit {}: its SEARCH text (\"{}\") is not in the file; copy the lines literally, or send the "
              "whole file{}",
              number, start, nearest.empty() ? "" : ". The nearest text is, at " + nearest)};
}

/// How many of the pairs of neighbouring characters of `a` occur in `b`, as a share.
double likeness(const std::string& a, const std::string& b) {
  if (a == b) return 1;
  if (a.size() < 2 || b.size() < 2) return 0;
  std::bitset<65536> pairs;
  const auto pair_at = [](const std::string& text, std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(text[at]) << 8 |
                                    static_cast<unsigned char>(text[at + 1]));
  };
  for (std::size_t at = 0; at + 1 < b.size(); ++at) pairs.set(pair_at(b, at));
  std::size_t common = 0;
  for (std::size_t at = 0; at + 1 < a.size(); ++at) common += pairs.test(pair_at(a, at)) ? 1 : 0;
  return static_cast<double>(common) / static_cast<double>(std::max(a.size(), b.size()) - 1);
}

}  // namespace

std::variant<std::vector<SourceEdit>, Rejection> read_edits(std::string_view reply) {
  enum class In { text, search, replace } state = In::text;
  std::vector<SourceEdit> edits;
  SourceEdit edit;
  const auto wrong = [&](const char* reason, std::string_view what) {
    return Rejection{reason, fmt::format("edit {}: {}", edits.size() + 1, what)};
  };
  for (std::string_view line : split_lines(reply)) {
    if (is_marker(line, '<', "SEARCH")) {
      if (state != In::text)
        return wrong("edit_is_malformed", "a second SEARCH marker comes before its REPLACE marker");
      if (edits.size() == k_edits_max)
        return Rejection{"too_many_edits",
                         fmt::format("more than {} edits; send the whole file", k_edits_max)};
      edit = {};
      state = In::search;
    } else if (state == In::search && is_marker(line, '=', "")) {
      state = In::replace;
    } else if (state == In::search && is_marker(line, '>', "REPLACE")) {
      return wrong("edit_is_malformed", "there is no line ======= between SEARCH and REPLACE");
    } else if (state == In::replace && is_marker(line, '>', "REPLACE")) {
      edits.push_back(edit);
      state = In::text;
    } else if (state != In::text) {
      (state == In::search ? edit.search : edit.replace).append(line).append("\n");
    }
  }
  if (state != In::text) return wrong("edit_is_torn", "the reply ends before its REPLACE marker");
  return edits;
}

std::variant<std::vector<SourceEdit>, Rejection> read_diff(std::string_view reply) {
  std::vector<SourceEdit> edits;
  for (const FencedBlock& block : fenced_blocks(reply)) {
    if (block.language != "diff" && block.language != "patch") continue;
    if (!block.is_closed) return Rejection{"reply_is_torn", "the last diff block is not closed"};
    bool is_in_hunk = false;
    for (std::string_view line : split_lines(block.text)) {
      if (line.starts_with("@@")) {
        if (edits.size() == k_edits_max)
          return Rejection{"too_many_edits",
                           fmt::format("more than {} hunks; send the whole file", k_edits_max)};
        edits.emplace_back();
        is_in_hunk = true;
        continue;
      }
      if (!is_in_hunk || line.starts_with("\\")) continue;  // file names; "\ No newline at end of file"
      const char kind = line.empty() ? ' ' : line[0];
      const std::string_view rest = line.empty() ? line : line.substr(1);
      if (kind != '+') edits.back().search.append(kind == '-' || kind == ' ' ? rest : line).append("\n");
      if (kind != '-') edits.back().replace.append(kind == '+' || kind == ' ' ? rest : line).append("\n");
    }
  }
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
    if (places.count == 0) places = find_ignoring_blanks(text, edit.search, true);
    if (places.count == 0) places = find_ignoring_blanks(text, edit.search, false);
    std::string_view replace = edit.replace;
    if (places.count == 0) {
      places = find_within_lines(text, without_last_newline(edit.search));
      replace = without_last_newline(replace);
    }
    if (places.count != 1) return does_not_fit(i + 1, edit, text, places);
    const Place place = places.first.front();
    text.replace(place.begin, place.end - place.begin, replace);
    if (text.size() > 2 * k_source_bytes_max)
      break;  // the caller refuses it; 32 edits cannot grow it further
  }
  return text;
}

std::string nearest_text(std::string_view source, std::string_view search) {
  std::vector<Line> wanted = squeezed_lines(search, false);
  const std::vector<Line> have = squeezed_lines(source, false);
  if (wanted.size() > k_nearest_lines_max) wanted.resize(k_nearest_lines_max);
  if (wanted.empty() || have.empty()) return "";
  std::vector<double> score(have.size(), 0.0);  // of a window that begins at this line
  for (std::size_t i = 0; i < have.size(); ++i)
    for (std::size_t k = 0; k < wanted.size() && k <= i; ++k)
      score[i - k] += likeness(wanted[k].text.substr(0, 200), have[i].text.substr(0, 200));
  const auto best = std::max_element(score.begin(), score.end());
  if (*best < k_likeness_min * static_cast<double>(wanted.size())) return "";
  const auto first = static_cast<std::size_t>(best - score.begin());
  const std::size_t last = std::min(have.size(), first + wanted.size()) - 1;
  const std::size_t begin = have[first].place.begin;
  const std::string_view text = source.substr(begin, have[last].place.end - begin);
  return fmt::format("lines {} to {}:\n{}", line_number(source, begin),
                     line_number(source, have[last].place.begin), clipped(text, k_nearest_bytes_max));
}

}  // namespace kernelites
