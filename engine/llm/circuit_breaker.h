// SPDX-License-Identifier: Apache-2.0
// Leaving a server alone that has failed many times in a row, then asking it with one call.
//
// closed (calls pass) -> `failures_max` failures in a row -> open for `cooldown_first` -> one trial call -> closed
// if it succeeds, else open for twice as long, at most `cooldown_max`.
#pragma once

#include <chrono>

#include "engine/core/clock.h"

namespace kernelites {

struct BreakerPolicy {
  int failures_max = 10;
  std::chrono::milliseconds cooldown_first{15'000};
  std::chrono::milliseconds cooldown_max{300'000};
};

class CircuitBreaker {
 public:
  explicit CircuitBreaker(BreakerPolicy policy) : policy_(policy), cooldown_(policy.cooldown_first) {}

  /// Whether a call may start.
  bool allows(Clock::Steady now) const { return is_closed() || (now >= open_until_ && !has_trial_); }
  bool is_closed() const { return failures_ < policy_.failures_max; }
  /// When the next trial may start; in the past while closed.
  Clock::Steady open_until() const { return open_until_; }

  /// True if the attempt that starts is the trial: how it ends decides.
  bool started() { return has_trial_ = !is_closed(); }
  void succeeded();
  void failed(Clock::Steady now, bool is_trial);
  /// The trial ended without a word about the server.
  void abandoned() { has_trial_ = false; }

 private:
  BreakerPolicy policy_;
  int failures_ = 0;
  bool has_trial_ = false;
  std::chrono::milliseconds cooldown_;
  Clock::Steady open_until_{};
};

}  // namespace kernelites
