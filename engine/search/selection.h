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
  std::vector<std::string> failed = {};     ///< ids of failed candidates that nobody has tried to mend
};

struct Selection {
  std::string operator_name;
  std::string parent_id;
  std::string cell;                 ///< the parent's; empty for one that failed
  std::vector<Elite> inspirations;  ///< of other cells, best first
};

/// Draws an operator by its share among those that can work now, then a parent: with probability `greed` the best
/// elite, else uniform over elites (tune: over the tunable ones; repair: over those that failed). Inspirations: the
/// best of the other cells and uniform draws of the rest. Empty if nothing can be done: no elites, nothing to tune.
std::optional<Selection> select(const Grid& grid, const Choices& choices, const RunConfig& config, Rng rng);

}  // namespace kernelites
