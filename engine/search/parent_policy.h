// SPDX-License-Identifier: Apache-2.0
// Who becomes a parent, which cell is aimed at and who inspires: pure functions of the grid, of what is known of
// candidates and their children, and of random numbers (docs/search.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "archive/grid.h"
#include "engine/core/rng.h"
#include "engine/search/bandit.h"
#include "engine/search/parent_pool.h"
#include "engine/search/run_config.h"
#include "engine/variation/operator_table.h"

namespace kernelites {

/// In the order of `k_strategies`.
enum class Strategy {
  map_elites,  ///< elites of all cells and who is nearly as fast, by speed and few children
  best_of_n,   ///< always the baseline
  hill_climb,  ///< always the fastest elite
  random       ///< any timed candidate
};
/// By its name in `k_strategies`; nothing for another one.
std::optional<Strategy> strategy_of_name(std::string_view name);

/// What may be chosen for the next variation.
struct Choices {
  bool has_model = false;                   ///< an endpoint is there and may be called
  std::vector<std::string> tunable_elites;  ///< candidate ids whose tunables are not known to be exhausted
  std::vector<std::string> failed = {};     ///< ids of failed candidates that nobody has tried to mend
  std::vector<std::string> improvers = {};  ///< elites faster than their parent that were not minimised
  std::vector<ArmWeight> arms = {};  ///< that may be asked; empty: the configuration's, of one endpoint
  const Bandit* bandit = nullptr;    ///< null: arms are drawn by their weights
  std::string target_cell = {};      ///< the parent is to be near it, and the child in it; empty: as it comes
  const ParentPool* pool = nullptr;  ///< null: nothing is known beside the elites
  std::string baseline_id = {};      ///< for the control that always starts from it
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

/// Parents for the operator of `row`.
///
/// Strategy map-elites: of the elites, and of contenders that are at most `softness` slower than the elite of their
/// cell, the one with the highest log(speed-up) / `speed_scale` - log(1 + children): who is slower by `speed_scale`
/// gets a parent's turn when the others have e times its children. Tuning starts from tunable elites alone, chosen in
/// the same way; a target cell narrows the choice to the cells nearest to it. Repair: any that failed. Inspirations:
/// the best of the other cells and uniform draws of the rest; none for controls. Empty if the grid holds no elite
/// that the operator can start from.
std::optional<Parents> choose_parents(const OperatorRow& row, const Grid& grid, const Choices& choices,
                                      const RunConfig& config, Rng& rng);

}  // namespace kernelites
