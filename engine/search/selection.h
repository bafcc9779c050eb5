// SPDX-License-Identifier: Apache-2.0
// Who becomes a parent, who inspires, and which operator works: a pure function.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "archive/grid.h"
#include "engine/core/rng.h"
#include "engine/search/run_config.h"

namespace kernelites {

/// What may be chosen for the next variation.
struct Choices {
  bool has_model = false;                   ///< an endpoint is there and may be called
  std::vector<std::string> tunable_elites;  ///< candidate ids whose tunables are not known to be exhausted
};

struct Selection {
  std::string operator_name;
  Elite parent;
  std::vector<Elite> inspirations;  ///< of other cells, best first
};

/// Draws an operator by its share among those that can work now, then a parent: with probability `greed` the best
/// elite, else uniform over elites (for tune: over the tunable ones). Inspirations are the best of the other cells
/// and uniform draws of the rest. Empty if nothing can be done: no elites, or no model and nothing to tune.
std::optional<Selection> select(const Grid& grid, const Choices& choices, const RunConfig& config, Rng rng);

}  // namespace kernelites
