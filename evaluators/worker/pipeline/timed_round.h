// SPDX-License-Identifier: Apache-2.0
// Rounds of a duel: how many launches make a sample, and whether the clock held still while a round was taken.
#pragma once

#include <span>
#include <vector>

#include "evaluators/worker/pipeline/child_client.h"

namespace kernelites::worker {

/// Launches of one sample: events and launches cost and scatter about a microsecond, which is nothing of a kernel of a
/// millisecond and much of one of ten. Each has all its surroundings, so that caches are cold and outputs poisoned
/// however many there are. `fastest_us`: of the arms; all have the same number.
int launches_per_sample(double fastest_us);

/// What one round took, one run for each arm.
using TimedRound = std::vector<ExecutorClient::Ran>;

/// Watches the clock of the multiprocessors over the rounds of one workload.
class RoundClock {
 public:
  /// `rounds`: how many are to be taken. A quarter as many may be thrown away; a device whose clock moves more often is
  /// timed as it is, and its intervals tell.
  explicit RoundClock(int rounds) : discards_left_((rounds + 3) / 4) {}

  /// Whether the round counts: its probes agree, with each other and with what is usual. One that does not is to be
  /// taken again after a pause of `pause_ms`.
  bool accepts(const TimedRound& round);
  int pause_ms() const;
  int discarded() const { return discarded_; }
  /// Median over the rounds that counted; 0: unknown.
  double usual_ghz() const;

 private:
  std::vector<double> usual_;  ///< of each round that counted
  int discards_left_;
  int discarded_ = 0, discarded_in_a_row_ = 0;
};

}  // namespace kernelites::worker
