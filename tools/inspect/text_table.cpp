// SPDX-License-Identifier: Apache-2.0
// Columns of text, aligned.
#include "tools/inspect/text_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace kernelites {
namespace {

bool is_number(const std::string& text) {
  return !text.empty() &&
         (std::isdigit(static_cast<unsigned char>(text[0])) || text[0] == '-' || text[0] == '.');
}

}  // namespace

std::string text_table(const std::vector<std::vector<std::string>>& rows) {
  if (rows.empty()) return "";
  const std::size_t columns = rows.front().size();
  std::vector<std::size_t> width(columns, 0);
  std::vector<bool> is_right(columns, rows.size() > 1);
  for (std::size_t r = 0; r < rows.size(); ++r)
    for (std::size_t c = 0; c < columns && c < rows[r].size(); ++c) {
      width[c] = std::max(width[c], rows[r][c].size());
      if (r > 0 && !is_number(rows[r][c])) is_right[c] = false;
    }
  std::string text;
  const auto add_line = [&](const auto& cell_of) {
    std::string line;
    for (std::size_t c = 0; c < columns; ++c) {
      if (c > 0) line += "  ";
      line += is_right[c] ? fmt::format("{:>{}}", cell_of(c), width[c])
                          : fmt::format("{:<{}}", cell_of(c), width[c]);
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    text += line + "\n";
  };
  for (std::size_t r = 0; r < rows.size(); ++r) {
    add_line([&](std::size_t c) { return c < rows[r].size() ? rows[r][c] : std::string(); });
    if (r == 0) add_line([&](std::size_t c) { return std::string(width[c], '-'); });
  }
  return text;
}

}  // namespace kernelites
