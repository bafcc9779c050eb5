// SPDX-License-Identifier: Apache-2.0
// Retry-After in both forms, and the bounds of backoff.
#include "engine/llm/retry_policy.h"

#include "tests/support/catch.h"

using namespace kernelites;
using namespace std::chrono_literals;

namespace {

const Clock::System k_now =
    std::chrono::system_clock::from_time_t(784111777);  // Sun, 06 Nov 1994 08:49:37 GMT

void check_retry_after(const char* header, std::optional<std::chrono::milliseconds> expected,
                       const char* date = "") {
  CAPTURE(header, date);
  CHECK(parse_retry_after(header, date, k_now) == expected);
}

}  // namespace

TEST_CASE("Retry-After is read as seconds or as a date") {
  check_retry_after("0", 0s);
  check_retry_after("7", 7s);
  check_retry_after("Sun, 06 Nov 1994 08:50:07 GMT", 30s);
  check_retry_after("Sunday, 06-Nov-94 08:50:07 GMT", 30s);
}

TEST_CASE("a Retry-After date counts from the server's own clock where it tells it") {
  check_retry_after("Sun, 06 Nov 1994 09:50:07 GMT", 7s, "Sun, 06 Nov 1994 09:50:00 GMT");
}

TEST_CASE("a Retry-After in the past is no wait, and an absurd one is cut to a week") {
  check_retry_after("-5", 0s);
  check_retry_after("Sun, 06 Nov 1994 08:49:00 GMT", 0s);
  check_retry_after("99999999999999999999999", 7 * 24h);
}

TEST_CASE("an unreadable Retry-After counts as none") {
  check_retry_after("", std::nullopt);
  check_retry_after("soon", std::nullopt);
  check_retry_after("12 parsecs", std::nullopt);
}

TEST_CASE("backoff doubles from its first wait, jittered down to a half, up to its maximum") {
  const RetryPolicy policy{.backoff_first = 1s, .backoff_max = 10s};
  Rng rng(1);
  for (int draw = 0; draw < 200; ++draw) {
    for (const auto& [attempt, whole] :
         {std::pair{1, 1000ms}, {2, 2000ms}, {4, 8000ms}, {5, 10000ms}, {60, 10000ms}}) {
      const auto delay = retry_delay(policy, attempt, std::nullopt, rng);
      CHECK(delay >= whole / 2);
      CHECK(delay <= whole);
    }
  }
}

TEST_CASE("no retry comes before Retry-After, and callers spread over a tenth of it") {
  Rng rng(1);
  std::chrono::milliseconds least = 1h, most = 0ms;
  for (int draw = 0; draw < 200; ++draw) {
    const auto delay = retry_delay({}, 1, 20s, rng);
    least = std::min(least, delay);
    most = std::max(most, delay);
  }
  CHECK(least >= 20s);
  CHECK(most <= 22s);
  CHECK(most - least > 1s);
}
