// SPDX-License-Identifier: Apache-2.0
// A thousand calls against a server that behaves badly; tests/soak makes ten thousand.
#include "tests/support/chaos_run.h"

#include "tests/support/catch.h"

using namespace kernelites;

TEST_CASE("a thousand calls to a bad server end in one outcome each, as the server counts them") {
  const ChaosReport report = run_chaos(1000, 1);
  CHECK(report.replies == 1000);
  CHECK(report.repeated == 0);
  CHECK(report.wrong_failures == 0);
  CHECK(report.wrong_attempts == 0);
  CHECK(report.wrong_usage == 0);
  CHECK(report.attempts == report.server_requests);
  CHECK(report.followed_redirects == 0);
  CHECK(report.usd_over_limit <= 0);
  CHECK(report.threads_max == report.threads_before);
  CHECK(report.failures.size() >= 6);
}
