// SPDX-License-Identifier: Apache-2.0
// The grid of a run as a picture in the terminal: speed-ups in cells, brighter where they are greater.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "archive/grid.h"

namespace kernelites {

/// A head and one line for each row that holds an elite, none wider than `columns` on the screen. Columns: the last
/// axis; rows: all others. Empty cells are dots. A last line says how many rows are empty, or are left out beyond
/// `rows_max` (the ones with the least speed-ups go first); 0: no limit.
std::vector<std::string> heat_map_lines(const Grid& grid, std::size_t columns, bool has_color,
                                        std::size_t rows_max = 0);

}  // namespace kernelites
