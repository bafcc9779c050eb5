// SPDX-License-Identifier: Apache-2.0
// Two sources line by line: what stayed, what went, what came, comments included.
#include "tools/inspect/source_diff.h"

#include <algorithm>

#include "engine/variation/line_alignment.h"

namespace kernelites {

std::vector<DiffLine> source_diff(const std::string& before, const std::string& after) {
  const std::vector<std::string> a = text_lines(before), b = text_lines(after);
  const auto kept = kept_lines(a, b);
  std::vector<DiffLine> lines;
  lines.reserve(a.size() + b.size());
  for (std::size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    const auto old_line = static_cast<int>(i) + 1, new_line = static_cast<int>(j) + 1;
    if (i < a.size() && !kept[i])
      lines.push_back({DiffLine::Kind::removed, old_line, 0, a[i++]});
    else if (i < a.size() && *kept[i] == j)
      lines.push_back({DiffLine::Kind::same, old_line, new_line, a[i++]}), ++j;
    else
      lines.push_back({DiffLine::Kind::added, 0, new_line, b[j++]});
  }
  return lines;
}

std::vector<DiffHunk> hunks_of(std::span<const DiffLine> lines, std::size_t context) {
  std::vector<DiffHunk> hunks;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].kind == DiffLine::Kind::same) continue;
    const std::size_t begin = i - std::min(i, context), end = std::min(lines.size(), i + 1 + context);
    if (!hunks.empty() && begin <= hunks.back().end)
      hunks.back().end = end;
    else
      hunks.push_back({begin, end});
  }
  return hunks;
}

int line_count(std::span<const DiffLine> lines, DiffLine::Kind kind) {
  return static_cast<int>(
      std::count_if(lines.begin(), lines.end(), [&](const DiffLine& line) { return line.kind == kind; }));
}

}  // namespace kernelites
