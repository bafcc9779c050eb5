// SPDX-License-Identifier: Apache-2.0
// What the next variation is: which operator works, from whom, and where to; a pure function.
#pragma once

#include <optional>
#include <string>

#include "engine/search/parent_policy.h"

namespace kernelites {

/// One choice: the arm, then what it starts from. Recorded in a VariationRecord before anything is spent: the second
/// parent in `parents`, the target cell in `decision`.
struct Selection {
  std::string operator_name;
  Parents parents;
  std::string endpoint = {}, prompt_version = {};  ///< of the arm
};

/// Draws an arm among those that can work now, as the bandit or their weights say, then its parents. Empty if nothing
/// can be done: no elites, nothing to tune.
std::optional<Selection> select(const Grid& grid, const Choices& choices, const RunConfig& config, Rng rng);

}  // namespace kernelites
