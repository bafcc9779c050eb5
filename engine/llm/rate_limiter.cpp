// SPDX-License-Identifier: Apache-2.0
// Levels of buckets as functions of time.
#include "engine/llm/rate_limiter.h"

#include <algorithm>

namespace kernelites {
namespace {

constexpr double k_burst_s = 10;

double seconds(Clock::Steady::duration time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

TokenBucket::TokenBucket(double per_minute, double least, Clock::Steady now)
    : per_s_(per_minute / 60), capacity_(std::max(least, per_s_ * k_burst_s)), level_(capacity_), at_(now) {}

double TokenBucket::level_at(Clock::Steady now) const {
  return std::min(capacity_, level_ + per_s_ * seconds(now - at_));
}

Clock::Steady TokenBucket::ready_at(double amount, Clock::Steady now) const {
  const double missing = std::min(amount, capacity_) - level_at(now);
  constexpr double k_rounding = 1e-6;
  if (per_s_ <= 0 || missing <= k_rounding) return now;
  return now + std::chrono::ceil<std::chrono::milliseconds>(std::chrono::duration<double>(missing / per_s_));
}

void TokenBucket::take(double amount, Clock::Steady now) {
  level_ = std::min(capacity_, level_at(now) - amount);
  at_ = now;
}

RateLimiter::RateLimiter(RateLimits limits, Clock::Steady now)
    : requests_(limits.requests_per_minute, 1, now), tokens_(limits.tokens_per_minute, 1, now) {}

Clock::Steady RateLimiter::ready_at(double tokens, Clock::Steady now) const {
  return std::max(requests_.ready_at(1, now), tokens_.ready_at(tokens, now));
}

void RateLimiter::take(double tokens, Clock::Steady now) {
  requests_.take(1, now);
  tokens_.take(tokens, now);
}

void RateLimiter::settle(double expected, double used, Clock::Steady now) {
  tokens_.correct(expected - used, now);
}

}  // namespace kernelites
