// SPDX-License-Identifier: Apache-2.0
// The model-free operator that finds which parts of a successful change were needed: delta debugging (Zeller and
// Hildebrandt 2002, ddmin) over hunks of the source and tunables, by evaluation.
#pragma once

#include <optional>
#include <vector>

#include "engine/variation/operator.h"
#include "engine/variation/source_change.h"

namespace kernelites {

/// The search for the least parts that still do. Deterministic in the results that it is told, so that a run that was
/// interrupted goes the same way again.
class PartSearch {
 public:
  /// REQUIRES: `parts` > 0 and `tests_max` > 0.
  PartSearch(std::size_t parts, int tests_max);
  /// The sets to be tested next, each a sorted list of parts, all together. Empty: it is over.
  std::vector<std::vector<std::size_t>> next();
  /// Whether each set of the last `next` does, in its order.
  void told(const std::vector<bool>& does);
  /// No more tests: what the last ones said may be wrong.
  void cut_short();

  const std::vector<std::size_t>& least() const { return kept_; }
  /// Nothing can be left out, as far as was tested part by part.
  bool is_proven() const { return is_proven_; }
  int tests() const { return tests_; }

 private:
  std::vector<std::size_t> kept_;
  std::size_t chunks_ = 2;
  int tests_max_;
  int tests_ = 0;
  bool is_proven_ = false;
  bool is_cut_ = false;  // the last step lacked tests
  std::vector<std::vector<std::size_t>> asked_;
};

/// Kernels that one minimisation may have evaluated.
inline constexpr int k_minimise_tests_max = 16;
/// Tests none of which compiles after which parts of a change are taken for inseparable: a file written anew is cut
/// into hunks that mean nothing alone.
inline constexpr int k_minimise_blind_max = 6;
/// Share of the parent's log gain over its own parent that may be lost.
inline constexpr double k_minimise_loss_max = 0.2;

/// Starts from a candidate that is faster than its own parent (`lineage.front()`), and submits the smallest change of
/// that one that passes and keeps the gain. Gives up with "already_minimal" if every part is needed, with "no_change"
/// if there is nothing to divide, with "inseparable" if no part of the change compiles, with "minimise_unfinished" if
/// the tests did not suffice to leave anything out.
class MinimiseOperator : public Operator {
 public:
  explicit MinimiseOperator(VariationInput input);
  Action next(const Observation& observation) override;

 private:
  Action ask();
  Action end() const;
  bool is_inseparable() const;
  Candidate candidate_of(const std::vector<std::size_t>& set) const;
  bool keeps_gain(const InsideResult& result) const;

  VariationInput input_;
  std::vector<ChangePart> parts_;
  double gain_ = 0;  // log of the parent's gain
  bool has_compiled_ = false;
  std::optional<PartSearch> search_;
};

}  // namespace kernelites
