// SPDX-License-Identifier: Apache-2.0
// The elites whose change is worth minimising.
#pragma once

#include <string>
#include <vector>

#include "archive/archive.h"

namespace kernelites {

/// Ids of elites that are faster than their own parent, by the baseline that both met, and that no minimisation has
/// started from; in the order of the grid. What a minimisation itself found is not minimised again.
std::vector<std::string> improvers_of(const Archive& archive, const Grid& grid,
                                      const std::string& baseline_id,
                                      const std::map<std::string, double>& weights);

}  // namespace kernelites
