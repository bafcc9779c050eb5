// SPDX-License-Identifier: Apache-2.0
// Hunks between aligned lines, and back.
#include "engine/variation/source_change.h"

#include <algorithm>

#include "engine/variation/line_alignment.h"
#include "engine/variation/tuning.h"

namespace kernelites {
namespace {

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
  const std::vector<std::string> old = text_lines(from.source);
  std::vector<ChangePart> parts = hunks_between(old, text_lines(to.source));
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
  const std::vector<std::string> old = text_lines(from.source);
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
