// SPDX-License-Identifier: Apache-2.0
// The grid of a run as a picture in the terminal: speed-ups in cells, brighter where they are greater.
#include "tools/inspect/heat_map.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/inspect/screen_text.h"

namespace kernelites {
namespace {

constexpr std::size_t k_cell_columns = 8;  // " 12.345x"

/// A row of the picture: the cells of one combination of all axes but the last.
struct MapRow {
  std::string name;
  std::vector<const Elite*> elites;  // by label of the last axis; null: empty
  double best = 0;
};

std::vector<MapRow> rows_of(const Grid& grid) {
  const std::size_t width = grid.axes().back().labels.size();
  std::vector<MapRow> rows;
  for (std::size_t at = 0; at < grid.cell_count(); at += width) {
    const std::string& cell = grid.cells()[at];
    MapRow row{.name = cell.substr(0, cell.rfind('/')), .elites = {}};
    for (std::size_t column = 0; column < width; ++column) {
      row.elites.push_back(grid.find(grid.cells()[at + column]));
      if (row.elites.back()) row.best = std::max(row.best, row.elites.back()->speedup);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

/// By speed-up against the best: the 256-colour ramp from dark green to yellow.
std::string painted(const std::string& text, double share, bool has_color) {
  if (!has_color) return text;
  constexpr int k_ramp[] = {22, 28, 34, 70, 106, 142, 178, 220};
  const int step = std::clamp(static_cast<int>(share * 8), 0, 7);
  return fmt::format("\x1b[30;48;5;{}m{}\x1b[0m", k_ramp[step], text);
}

/// Keeps the `rows_max` best ones in their order; returns how many went.
std::size_t keep_best(std::vector<MapRow>& rows, std::size_t rows_max) {
  if (rows_max == 0 || rows.size() <= rows_max) return 0;
  std::vector<double> best;
  for (const MapRow& row : rows) best.push_back(row.best);
  std::sort(best.rbegin(), best.rend());
  const double least = best[rows_max - 1];
  const std::size_t before = rows.size();
  std::size_t kept = 0;
  std::erase_if(rows, [&](const MapRow& row) { return row.best < least || ++kept > rows_max; });
  return before - rows.size();
}

}  // namespace

std::vector<std::string> heat_map_lines(const Grid& grid, std::size_t columns, bool has_color,
                                        std::size_t rows_max) {
  const auto& labels = grid.axes().back().labels;
  std::vector<MapRow> rows = rows_of(grid);
  const std::size_t empty = std::erase_if(rows, [](const MapRow& row) { return row.best == 0; });
  const std::size_t left_out = keep_best(rows, rows_max);
  std::size_t name_columns = 4, longest = k_cell_columns;
  for (const MapRow& row : rows) name_columns = std::max(name_columns, row.name.size());
  for (std::string_view label : labels) longest = std::max(longest, label.size());
  // Cells are as wide as their labels where there is room, and the row's name gives way before a number does.
  const std::size_t least = labels.size() * (k_cell_columns + 1);
  name_columns = std::min(name_columns, std::max<std::size_t>(columns, least + 8) - least);
  const std::size_t cell = std::clamp((std::max(columns, name_columns + 1) - name_columns) / labels.size(),
                                      k_cell_columns + 1, longest + 1);
  std::vector<std::string> lines{std::string(name_columns, ' ')};
  for (std::string_view label : labels) lines[0] += fmt::format("{:>{}}", cut_to(label, cell - 1), cell);
  const double best = grid.best() ? grid.best()->speedup : 1;
  for (const MapRow& row : rows) {
    std::string line = padded_to(row.name, name_columns);
    for (const Elite* elite : row.elites)
      line += elite == nullptr
                  ? fmt::format("{:>{}}", ".", cell)
                  : std::string(cell - k_cell_columns, ' ') +
                        painted(fmt::format("{:>7.3f}x", elite->speedup), elite->speedup / best, has_color);
    lines.push_back(std::move(line));
  }
  if (left_out > 0)
    lines.push_back(fmt::format("and {} slower rows, {} empty ones", left_out, empty));
  else if (empty > 0)
    lines.push_back(fmt::format("and {} rows without an elite", empty));
  return lines;
}

}  // namespace kernelites
