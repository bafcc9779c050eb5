// SPDX-License-Identifier: Apache-2.0
// A whole search in memory, in a frozen landscape: thousands of candidates a second for comparing policies.
//
// What decides is the search's own code: `next_step` (examination, duel, confirmation, elite rule, champions) with
// noisy duels, equal code not timed twice. Missing are the database, the worker and the model: an experiment chooses
// parents with the search's functions, makes an edit with `scripted_edit` and gives it to `submit`, which tells the
// candidate before the next one is chosen.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "archive/elite_rule.h"
#include "archive/grid.h"
#include "archive/records.h"
#include "engine/search/parent_policy.h"
#include "engine/search/placement.h"
#include "engine/search/triage.h"
#include "tests/support/landscapes/landscape.h"
#include "tests/support/landscapes/scripted_edit.h"

namespace kernelites {

/// A measured landscape with the figures that every experiment needs.
struct Arena {
  Landscape landscape;
  double noise = 0;         ///< median of |log ratio| of a point in two duels
  double speedup_best = 1;  ///< of its fastest point
  std::vector<Axis> axes;   ///< of the task's family
};
/// Those under tests/support/landscapes, by name. Throws ConfigError if `source_root` has none.
std::vector<Arena> measured_arenas(const std::filesystem::path& source_root);

/// Modelled times by point and workload.
using ModelledPoints = std::vector<std::map<std::string, double>>;

/// How a world differs from the search's defaults.
struct WorldSettings {
  std::uint64_t seed = 1;           ///< keys the noise
  std::span<const Axis> axes = {};  ///< of the grid; empty: the arena's
  EliteRule rule = {};
  double noise = 1;  ///< times what was measured; 0: exact times
  TriageSettings triage = {};
  const ModelledPoints* modelled = nullptr;  ///< what the time model says; null: nothing. Borrowed
};

/// What becomes of one submitted edit.
struct Told {
  std::uint64_t ordinal = 0;
  std::string id;  ///< "c7"; empty: no candidate came out
  std::size_t point = 0;
  bool is_passed = false;  ///< the examination's verdict
  std::string cell;        ///< empty unless it passed
  std::string status;      ///< as `Outcome::status`; "rejected" if no candidate came out
  double speedup = 0;      ///< measured in its last duel; 0: not timed
  std::map<std::string, double> log_speedup_at;  ///< the same by workload, as logarithms; empty: not timed
  double gain = 0;    ///< log of the cell's fitness over its former elite's; 0 unless it improved
  int champions = 0;  ///< workloads it became champion of
  int duels = 0;      ///< that were run for it
};

class SearchWorld {
 public:
  /// Records point 0 as seed and baseline. Borrows `arena`. May be moved.
  SearchWorld(const Arena& arena, const WorldSettings& settings);

  /// Examines, duels, confirms and tells the edit of `parent_id`.
  Told submit(const std::string& parent_id, const ScriptedEdit& edit);

  const Landscape& landscape() const { return arena_->landscape; }
  const Grid& grid() const { return grid_; }
  const std::vector<Champion>& champions() const { return champions_; }
  const std::string& baseline_id() const { return baseline_id_; }
  const ParentPool& pool() const { return pool_; }
  /// What `select` may choose from, with a model. Borrows the world.
  Choices choices() const { return {.has_model = true, .pool = &pool_, .baseline_id = baseline_id_}; }
  /// Of the next variation: the first after the seed is 2.
  std::uint64_t next_ordinal() const { return next_ordinal_; }
  /// Candidates that a worker has looked at, the seed not counted.
  std::int64_t evaluations() const { return evaluations_; }
  std::int64_t duels() const { return duels_; }
  /// Of candidates that passed and were no known code: those that had a duel, and those that triage left out; of the
  /// latter those that are in truth faster than their cell's elite by more than the elite rule asks for.
  struct Counts {
    std::int64_t duels = 0, timed = 0, left_out = 0, left_out_wrongly = 0;
  };
  const Counts& counts() const { return counts_; }
  std::size_t point_of(const std::string& candidate_id) const { return points_.at(candidate_id); }
  /// Empty unless it passed.
  std::string cell_of(const std::string& candidate_id) const;
  /// True speed of the best elite as share of the landscape's best: what a run would hand out.
  double reached() const;
  /// Every workload's champion has, in truth, the share `goal` of the best speed there.
  bool has_champions(double goal) const;

 private:
  Course examined(std::uint64_t ordinal, const std::string& parent_id, const ScriptedEdit& edit) const;
  void duel(Course& course, const NeedsDuel& need);
  void count(const Course& course, const Outcome& outcome, const Elite* incumbent);

  const Arena* arena_;
  WorldSettings settings_;
  std::map<std::string, double> weights_;
  Grid grid_;
  std::vector<Champion> champions_;
  ParentPool pool_;
  std::string baseline_id_;
  std::uint64_t next_ordinal_ = 1;
  std::int64_t evaluations_ = 0, duels_ = 0;
  std::map<std::string, std::size_t> points_;  // by candidate id
  Triage triage_;
  Counts counts_;
  std::set<std::size_t> known_code_;  // first points of passed twins
};

}  // namespace kernelites
