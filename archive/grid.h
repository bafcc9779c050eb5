// SPDX-License-Identifier: Apache-2.0
// The grid of elites (MAP-Elites, Mouret and Clune 2015, arXiv:1504.04909): cells, elites and figures over
// them.
//
// A cell is one label per axis, written "cp_async/mma_sync/split_kv"; which axes of engine/core/axes.h a run's grid has
// is in its configuration. Values and pure
// functions only: the archive stores elites, `decide_insert` (elite_rule.h) says who becomes one.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/core/axes.h"
#include "engine/core/evaluation.h"

namespace kernelites {

/// The name of the cell that `descriptors` fall into; empty if an axis is missing or has an unknown label.
std::optional<std::string> cell_name(const Descriptors& descriptors, std::span<const Axis> axes = k_axes);
/// Every cell of the grid, last axis fastest.
std::vector<std::string> all_cells(std::span<const Axis> axes = k_axes);

/// The best proven candidate of one cell.
struct Elite {
  std::string cell;
  std::uint64_t ordinal = 0;
  std::string candidate_id;
  /// What elites are ranked by: a founder's measured speed-up over the baseline, times every confirmed paired
  /// gain that was accepted in this cell since. It never decreases in a cell (elite_rule.h).
  double fitness = 0;
  /// Measured against the baseline in the duel that decided: geometric mean over bench workloads. What tables
  /// print.
  double speedup = 0;
  std::string duel_id;      ///< request id of that duel: for a successor the confirming one
  std::string task_digest;  ///< proven for this task by this harness on this device
  std::string harness_version;
  std::string device;
  bool is_modelled = false;
  bool operator==(const Elite&) const = default;
};

/// True if `elite` was proven for another task, by another harness or timed on another device than `now`: it
/// must be examined and timed again before it is used.
bool is_stale(const Elite& elite, const Provenance& now);

/// The elites of a run by cell.
class Grid {
 public:
  explicit Grid(std::span<const Axis> axes = k_axes);

  /// Puts `elite` into its cell, in place of whoever is there. REQUIRES: the cell is one of the grid's.
  void put(Elite elite);
  /// Empties a cell. REQUIRES: it is occupied.
  void remove(const std::string& cell);

  /// Null if the cell is empty. Valid until the next `put` or `remove`.
  const Elite* find(const std::string& cell) const;
  bool has_cell(const std::string& cell) const;
  /// In the order of `all_cells`.
  std::vector<Elite> elites() const;
  /// Calls `visit` with every elite, in the same order and without copying them.
  template <typename Visit>
  void for_each(Visit visit) const {
    for (const auto& [position, elite] : elites_) visit(elite);
  }
  /// Highest fitness; of equals the one with the smaller ordinal.
  std::optional<Elite> best() const;

  std::span<const Axis> axes() const { return axes_; }
  /// All of them, last axis fastest.
  const std::vector<std::string>& cells() const { return cells_; }
  std::size_t cell_count() const { return cells_.size(); }
  std::size_t elite_count() const { return elites_.size(); }
  /// The figures of qd_metrics.h that are asked for most: occupied share of all cells, and sum of fitness.
  double coverage() const;
  double qd_score() const;

 private:
  std::vector<Axis> axes_;
  std::vector<std::string> cells_;
  std::map<std::string, std::size_t> position_;  // of a cell in cells_
  std::map<std::size_t, Elite> elites_;          // by position: iteration is in grid order
};

}  // namespace kernelites
