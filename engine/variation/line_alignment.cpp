// SPDX-License-Identifier: Apache-2.0
// The table of the longest common subsequence, after equal heads and tails.
#include "engine/variation/line_alignment.h"

#include <algorithm>
#include <cstdint>

namespace kernelites {

std::vector<std::string> text_lines(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end == std::string::npos ? end : end - at));
    if (end == std::string::npos) break;
    at = end + 1;
  }
  return lines;
}

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
  if (rows == 0 || columns == 0 || rows * columns > k_alignment_cells_max) return kept;
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

}  // namespace kernelites
