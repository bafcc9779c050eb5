// SPDX-License-Identifier: Apache-2.0
// Who may become a parent beside the elites: timed candidates that are nearly as fast, and how many children all have.
//
// A value that depends on which facts it was told and not on their order, save for `timed`, which a run tells in the
// order of its history: read out of the archive, it is what it was before a restart.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "archive/archive.h"

namespace kernelites {

/// A candidate that passed every stage and was timed.
struct Contender {
  std::string candidate_id;
  std::uint64_t ordinal = 0;
  std::string cell;
  double speedup = 0;  ///< against the baseline, in its newest duel
};

/// Contenders that are kept of one cell, the fastest.
inline constexpr std::size_t k_contenders_max = 32;

class ParentPool {
 public:
  /// Ignores what has no cell or no time.
  void admit(const Contender& contender);
  /// A variation was asked of this first parent. Operators with a model and those without count apart: what tuning has
  /// tried says nothing of what a model can still do.
  void count_children(const std::string& parent_id, bool is_by_model, int count = 1);

  int children(const std::string& parent_id, bool is_by_model) const;
  /// Fastest first.
  const std::vector<Contender>& contenders(const std::string& cell) const;
  /// Ids of all that were admitted, in the order told.
  const std::vector<std::string>& timed() const { return timed_; }

 private:
  struct Children {
    int by_model = 0, by_program = 0;
  };
  std::map<std::string, std::vector<Contender>> contenders_;  // by cell
  std::unordered_map<std::string, Children> children_;
  std::vector<std::string> timed_;
};

/// What speeds are measured by, and the cells that there are.
struct PoolContext {
  const Grid& grid;
  std::string baseline_id;
  std::map<std::string, double> weights;  ///< of bench workloads
};
/// Admits what the archive says was told after `after` (Archive::told_candidates): who passed and was dueled with the
/// baseline. Returns how far it has read.
std::int64_t admit_told(ParentPool& pool, const Archive& archive, std::int64_t after,
                        const PoolContext& context);
/// Counts the variations that the archive has: once, when a run starts or goes on.
void count_all_children(ParentPool& pool, const Archive& archive);

}  // namespace kernelites
