// SPDX-License-Identifier: Apache-2.0
// Lines by their longest common subsequence, and back.
#include "engine/variation/source_change.h"

#include <algorithm>

#include "engine/variation/tuning.h"

namespace kernelites {
namespace {

/// Longer middles are one hunk: the table of the common subsequence is their product.
constexpr std::size_t k_table_cells_max = 4'000'000;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end == std::string::npos ? end : end - at));
    if (end == std::string::npos) break;
    at = end + 1;
  }
  return lines;
}

/// Without its comment and white space; declarations of tunables are comments that matter.
std::string code_of(const std::string& line) {
  if (line.find("// tune:") != std::string::npos) return line;
  std::string code = line.substr(0, line.find("//"));
  std::erase_if(code, [](char c) { return c == ' ' || c == '\t' || c == '\r'; });
  return code;
}

std::string code_of(std::vector<std::string>::const_iterator begin,
                    std::vector<std::string>::const_iterator end) {
  std::string code;
  for (auto line = begin; line != end; ++line) code += code_of(*line);
  return code;
}

/// Which lines of `a` stay, by the longest common subsequence: for each the index in `b`, or none.
std::vector<std::optional<std::size_t>> kept_lines(const std::vector<std::string>& a,
                                                   const std::vector<std::string>& b) {
  std::vector<std::optional<std::size_t>> kept(a.size());
  std::size_t head = 0, tail = 0;
  while (head < a.size() && head < b.size() && a[head] == b[head]) kept[head] = head, ++head;
  while (tail < a.size() - head && tail < b.size() - head &&
         a[a.size() - 1 - tail] == b[b.size() - 1 - tail]) {
    kept[a.size() - 1 - tail] = b.size() - 1 - tail;
    ++tail;
  }
  const std::size_t rows = a.size() - head - tail, columns = b.size() - head - tail;
  if (rows == 0 || columns == 0 || rows * columns > k_table_cells_max) return kept;
  std::vector<std::uint32_t> longest((rows + 1) * (columns + 1), 0);
  const auto at = [&](std::size_t i, std::size_t j) -> std::uint32_t& {
    return longest[i * (columns + 1) + j];
  };
  for (std::size_t i = rows; i-- > 0;)
    for (std::size_t j = columns; j-- > 0;)
      at(i, j) = a[head + i] == b[head + j] ? at(i + 1, j + 1) + 1 : std::max(at(i + 1, j), at(i, j + 1));
  for (std::size_t i = 0, j = 0; i < rows && j < columns;) {
    if (a[head + i] == b[head + j])
      kept[head + i] = head + j, ++i, ++j;
    else if (at(i + 1, j) >= at(i, j + 1))
      ++i;
    else
      ++j;
  }
  return kept;
}

std::vector<ChangePart> hunks_between(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  const auto kept = kept_lines(a, b);
  std::vector<ChangePart> hunks;
  const auto offset = [](std::size_t n) { return static_cast<std::ptrdiff_t>(n); };
  for (std::size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    if (i < a.size() && kept[i] == j) {
      ++i, ++j;
      continue;
    }
    const std::size_t begin = i, from = j;
    while (i < a.size() && !kept[i]) ++i;
    j = i < a.size() ? *kept[i] : b.size();
    if (code_of(a.begin() + offset(begin), a.begin() + offset(i)) !=
        code_of(b.begin() + offset(from), b.begin() + offset(j)))
      hunks.push_back({.begin = begin, .end = i, .lines = {b.begin() + offset(from), b.begin() + offset(j)}});
  }
  return hunks;
}

/// Joins `next` to `part`, with the old lines between them.
void absorb(ChangePart& part, const ChangePart& next, const std::vector<std::string>& old) {
  for (std::size_t i = part.end; i < next.begin; ++i) part.lines.push_back(old[i]);
  part.lines.insert(part.lines.end(), next.lines.begin(), next.lines.end());
  part.end = next.end;
}

/// Always the two hunks with the least between them.
void merge_down(std::vector<ChangePart>& hunks, const std::vector<std::string>& old, std::size_t count_max) {
  while (hunks.size() > count_max) {
    std::size_t nearest = 0;
    for (std::size_t i = 0; i + 1 < hunks.size(); ++i)
      if (hunks[i + 1].begin - hunks[i].end < hunks[nearest + 1].begin - hunks[nearest].end) nearest = i;
    absorb(hunks[nearest], hunks[nearest + 1], old);
    hunks.erase(hunks.begin() + static_cast<std::ptrdiff_t>(nearest) + 1);
  }
}

}  // namespace

std::vector<ChangePart> change_parts(const Candidate& from, const Candidate& to) {
  const std::vector<std::string> old = lines_of(from.source);
  std::vector<ChangePart> parts = hunks_between(old, lines_of(to.source));
  const Candidate before = with_full_tuning(from), after = with_full_tuning(to);
  std::vector<ChangePart> tunables;
  for (const auto& [name, value] : after.tuning) {
    const auto known = before.tuning.find(name);
    // A tunable that the old source does not declare comes with the hunk that declares it.
    if (known != before.tuning.end() && known->second != value)
      tunables.push_back({.tunable = name, .value = value});
  }
  merge_down(parts, old, k_change_parts_max - tunables.size());
  parts.insert(parts.end(), tunables.begin(), tunables.end());
  return parts;
}

Candidate with_parts(const Candidate& from, const std::vector<ChangePart>& parts) {
  const std::vector<std::string> old = lines_of(from.source);
  Candidate changed{.source = {}, .tuning = with_full_tuning(from).tuning};
  std::size_t at = 0;
  const auto keep = [&](std::size_t end) {
    for (; at < end; ++at) changed.source += old[at] + "\n";
  };
  for (const ChangePart& part : parts) {
    if (!part.tunable.empty()) {
      changed.tuning[part.tunable] = part.value;
      continue;
    }
    keep(part.begin);
    for (const std::string& line : part.lines) changed.source += line + "\n";
    at = part.end;
  }
  keep(old.size());
  return with_full_tuning(std::move(changed));
}

}  // namespace kernelites
