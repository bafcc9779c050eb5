// SPDX-License-Identifier: Apache-2.0
// The times of all arms of one workload as rounds bring them, who is timed no more, and when enough is known.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/core/evaluation.h"
#include "engine/core/paired_ratio.h"

namespace kernelites::worker {

/// Arm 0 is the candidate. An arm that was left out has the times of the rounds that it took part in: the first ones.
struct TimedArms {
  explicit TimedArms(std::size_t arms) : time_us(arms), stopped_after(arms, 0) {}

  std::vector<std::vector<double>> time_us;
  std::vector<int> stopped_after;  ///< rounds after which an arm was hopeless; 0: it was not
  bool is_over = false;            ///< further rounds would decide nothing

  /// Those that are still timed, ascending.
  std::vector<std::size_t> present() const;
  /// Of the candidate against `arm`, over the rounds that both have. REQUIRES: one at least.
  PairedRatio ratio(std::size_t arm, double confidence) const;
  /// What is done about the times after every accepted round, the `rounds`-th from 1: nothing, but where the plan has a
  /// look. `is_itself`: which arms are the candidate once more.
  void look(const LookPlan& looks, int rounds, const std::vector<bool>& is_itself);
  /// Leaves out arms that are hopeless against the candidate. True: the candidate itself is hopeless against every
  /// other arm, and its `stopped_after` says so. `is_itself`: which arms are the candidate once more.
  bool leave_out_hopeless(const std::vector<bool>& is_itself, double confidence);
};

}  // namespace kernelites::worker
