// SPDX-License-Identifier: Apache-2.0
// When a failed call is tried again: jittered exponential backoff, never before the server allows it.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "engine/core/clock.h"
#include "engine/core/rng.h"

namespace kernelites {

struct RetryPolicy {
  int attempts_max = 6;
  std::chrono::milliseconds backoff_first{1'000};
  std::chrono::milliseconds backoff_max{60'000};
};

/// The wait that a Retry-After header asks for: whole seconds or an HTTP date (RFC 9110, 10.2.3). A date is
/// compared with `date_header`, the server's own clock, where it is a date, else with `now`. Unreadable:
/// none.
std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view retry_after,
                                                           std::string_view date_header, Clock::System now);

/// Wait after failed attempt number `attempt` (from 1): `backoff_first` doubled per attempt, at most
/// `backoff_max`, of which a random half to whole is taken. With `retry_after`: that, plus up to a tenth, so
/// that callers spread.
std::chrono::milliseconds retry_delay(const RetryPolicy& policy, int attempt,
                                      std::optional<std::chrono::milliseconds> retry_after, Rng& rng);

}  // namespace kernelites
