// SPDX-License-Identifier: Apache-2.0
// Retry-After and backoff arithmetic.
#include "engine/llm/retry_policy.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <string>

namespace kernelites {
namespace {

/// Longer waits are as good as "never" to a run, and must not overflow.
constexpr std::int64_t k_retry_after_s_max = 7 * 24 * 3600;

std::optional<Clock::System> parse_http_date(std::string_view text) {
  const time_t seconds = curl_getdate(std::string(text).c_str(), nullptr);
  if (text.empty() || seconds < 0) return std::nullopt;
  return std::chrono::system_clock::from_time_t(seconds);
}

}  // namespace

std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view retry_after,
                                                           std::string_view date_header, Clock::System now) {
  std::int64_t seconds = 0;
  const char* end = retry_after.data() + retry_after.size();
  const auto [stop, problem] = std::from_chars(retry_after.data(), end, seconds);
  if (problem == std::errc::result_out_of_range) seconds = k_retry_after_s_max;
  if (problem == std::errc::invalid_argument || stop != end) {
    const auto until = parse_http_date(retry_after);
    if (!until) return std::nullopt;
    const auto from = parse_http_date(date_header).value_or(now);
    seconds = std::chrono::ceil<std::chrono::seconds>(*until - from).count();
  }
  return std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, k_retry_after_s_max));
}

std::chrono::milliseconds retry_delay(const RetryPolicy& policy, int attempt,
                                      std::optional<std::chrono::milliseconds> retry_after, Rng& rng) {
  const auto part = [](std::chrono::milliseconds time, double share) {
    return std::chrono::milliseconds(static_cast<std::int64_t>(static_cast<double>(time.count()) * share));
  };
  auto backoff = policy.backoff_first;
  for (int i = 1; i < attempt && backoff < policy.backoff_max; ++i) backoff *= 2;
  backoff = part(std::min(backoff, policy.backoff_max), 0.5 + 0.5 * rng.uniform());
  if (!retry_after) return backoff;
  return std::max(backoff, *retry_after + part(*retry_after, 0.1 * rng.uniform()));
}

}  // namespace kernelites
