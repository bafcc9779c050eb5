// SPDX-License-Identifier: Apache-2.0
// Ten thousand calls against a server that behaves badly: nothing lost, nothing twice, nothing left.
#include <fmt/format.h>

#include <iostream>

#include "tests/support/catch.h"
#include "tests/support/chaos_run.h"

using namespace kernelites;

TEST_CASE("ten thousand calls to a bad server leave memory flat and start no thread") {
  const ChaosReport report = run_chaos(10'000, 2);
  std::cout << fmt::format("{} calls, {} requests, {:.1f} s, RSS {} -> {} KiB, threads {}\n", report.replies,
                           report.server_requests, report.seconds, report.rss_kib_before,
                           report.rss_kib_after, report.threads_max);
  for (const auto& [failure, count] : report.failures)
    std::cout << fmt::format("  {:20} {}\n", failure.empty() ? "answered" : failure, count);
  CHECK(report.replies == 10'000);
  CHECK(report.repeated == 0);
  CHECK(report.wrong_failures == 0);
  CHECK(report.wrong_attempts == 0);
  CHECK(report.wrong_usage == 0);
  CHECK(report.attempts == report.server_requests);
  CHECK(report.followed_redirects == 0);
  CHECK(report.usd_over_limit <= 0);
  CHECK(report.threads_max == report.threads_before);
  // The replies that are kept for the comparison take less than 1 KiB each.
  CHECK(report.rss_kib_after - report.rss_kib_before < 16 * 1024);
}
