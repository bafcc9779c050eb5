// SPDX-License-Identifier: Apache-2.0
// Who becomes a parent, which cell is aimed at and who inspires: pure functions of the grid and random numbers.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "archive/grid.h"
#include "engine/core/rng.h"
#include "engine/search/bandit.h"
#include "engine/search/run_config.h"
#include "engine/variation/operator_table.h"

namespace kernelites {

/// What may be chosen for the next variation.
struct Choices {
  bool has_model = false;                   ///< an endpoint is there and may be called
  std::vector<std::string> tunable_elites;  ///< candidate ids whose tunables are not known to be exhausted
  std::vector<std::string> failed = {};     ///< ids of failed candidates that nobody has tried to mend
  std::vector<ArmWeight> arms = {};  ///< that may be asked; empty: the configuration's, of one endpoint
  const Bandit* bandit = nullptr;    ///< null: arms are drawn by their weights
  double floor = 0;  ///< at least so large a share of the draws goes by weights, whatever the bandit says
  std::string target_cell = {};  ///< the parent is to be near it, and the child in it; empty: as it comes
  bool is_restarted = false;     ///< parents are elites of all kinds but the fastest
};

/// Where a variation starts from.
struct Parents {
  std::string parent_id;
  std::string cell;                   ///< the parent's; empty for one that failed
  std::string second_parent_id = {};  ///< of another cell; empty: the operator takes one parent
  std::string target_cell = {};       ///< what the child is to be; empty: as it comes
  std::vector<Elite> inspirations;    ///< of other cells, best first
};

/// Whether `row` finds any candidate that it can start from.
bool has_parent(const OperatorRow& row, const Grid& grid, const Choices& choices);

/// Parents for the operator of `row`: with probability `greed` the best elite, else uniform over elites (tune: over the
/// tunable ones; repair: over those that failed). Inspirations: the best of the other cells and uniform draws of the
/// rest. Empty if the grid holds no elite that the operator can start from.
std::optional<Parents> choose_parents(const OperatorRow& row, const Grid& grid, const Choices& choices,
                                      const RunConfig& config, Rng& rng);

}  // namespace kernelites
