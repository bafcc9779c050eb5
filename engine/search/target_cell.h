// SPDX-License-Identifier: Apache-2.0
// Cells to aim at, and who is near them.
#pragma once

#include <string>
#include <vector>

#include "archive/grid.h"
#include "engine/core/rng.h"

namespace kernelites {

/// Axes in which two cells of one grid differ.
int cell_distance(const std::string& a, const std::string& b);

/// Empty cells that differ from an elite's in one label, in the order of `Grid::cells`.
std::vector<std::string> empty_neighbours(const Grid& grid);

/// Where to go when nothing comes out any more: every other time an empty neighbour, else one of `rising` (cells that
/// improved lately). Empty if there is neither.
std::string redirect_cell(const Grid& grid, const std::vector<std::string>& rising, Rng& rng);

/// Leaves of `elites` those that are nearest to `cell`.
void keep_nearest(std::vector<Elite>& elites, const std::string& cell);

}  // namespace kernelites
