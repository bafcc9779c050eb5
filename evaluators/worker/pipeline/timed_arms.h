// SPDX-License-Identifier: Apache-2.0
// The times of all arms of one workload as rounds bring them, and who is timed no more.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/core/evaluation.h"

namespace kernelites::worker {

/// Arm 0 is the candidate. An arm that was left out has the times of the rounds that it took part in: the first ones.
struct TimedArms {
  explicit TimedArms(std::size_t arms) : time_us(arms), stopped_after(arms, 0) {}

  std::vector<std::vector<double>> time_us;
  std::vector<int> stopped_after;  ///< rounds after which an arm was hopeless; 0: it was not

  /// Those that are still timed, ascending.
  std::vector<std::size_t> present() const;
  /// Of the candidate against `arm`, over the rounds that both have. REQUIRES: one at least.
  PairedRatio ratio(std::size_t arm, double confidence) const;
  /// Leaves out arms that are hopeless against the candidate. True: the candidate itself is hopeless against every
  /// other arm, and its `stopped_after` says so. `is_itself`: which arms are the candidate once more.
  bool leave_out_hopeless(const std::vector<bool>& is_itself, double confidence);
};

}  // namespace kernelites::worker
