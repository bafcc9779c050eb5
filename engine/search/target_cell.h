// SPDX-License-Identifier: Apache-2.0
// Cells to aim at, and who is near them.
#pragma once

#include <string>
#include <vector>

#include "archive/grid.h"

namespace kernelites {

/// Axes in which two cells of one grid differ.
int cell_distance(const std::string& a, const std::string& b);

/// Leaves of `elites` those that are nearest to `cell`.
void keep_nearest(std::vector<const Elite*>& elites, const std::string& cell);

}  // namespace kernelites
