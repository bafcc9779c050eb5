// SPDX-License-Identifier: Apache-2.0
// Requests and tokens per minute, as token buckets: short bursts pass, the average holds.
//
// A bucket holds at most ten seconds' worth and starts full. A request that is larger than the bucket starts when the
// bucket is full and leaves it in debt.
#pragma once

#include "engine/core/clock.h"

namespace kernelites {

/// 0: unlimited.
struct RateLimits {
  double requests_per_minute = 0;
  double tokens_per_minute = 0;
};

/// One bucket.
class TokenBucket {
 public:
  /// `per_minute` 0: never empty. `least`: what the bucket holds in any case.
  TokenBucket(double per_minute, double least, Clock::Steady now);
  /// When `amount` can be taken.
  Clock::Steady ready_at(double amount, Clock::Steady now) const;
  void take(double amount, Clock::Steady now);
  /// Gives back what was taken and not used (negative: takes more).
  void correct(double amount, Clock::Steady now) { take(-amount, now); }

 private:
  double level_at(Clock::Steady now) const;

  double per_s_;
  double capacity_;
  double level_;
  Clock::Steady at_;
};

/// Both buckets of an endpoint.
class RateLimiter {
 public:
  RateLimiter(RateLimits limits, Clock::Steady now);
  /// When a request that may use `tokens` can start.
  Clock::Steady ready_at(double tokens, Clock::Steady now) const;
  void take(double tokens, Clock::Steady now);
  /// A request that was counted with `expected` tokens has used `used`.
  void settle(double expected, double used, Clock::Steady now);

 private:
  TokenBucket requests_;
  TokenBucket tokens_;
};

}  // namespace kernelites
