// SPDX-License-Identifier: Apache-2.0
// Many calls against the chaos server, and what is true of them afterwards.
#pragma once

#include <map>
#include <string>

namespace kernelites {

struct ChaosReport {
  int replies = 0;
  int repeated = 0;        ///< replies to a call that had one
  int wrong_failures = 0;  ///< the failure is not what the server last did
  int wrong_attempts = 0;  ///< attempts differ from the requests that the server read
  int wrong_usage = 0;     ///< a call without lost attempts has other tokens than the server reported
  int attempts = 0;
  int server_requests = 0;
  int followed_redirects = 0;
  long threads_before = 0, threads_max = 0;
  long rss_kib_before = 0, rss_kib_after = 0;  ///< before: after the first tenth of the calls
  double usd_over_limit = 0;                   ///< the most by which a call was charged more than its limit
  double seconds = 0;
  std::map<std::string, int> failures;  ///< how many calls ended in which
};

/// Makes `calls` calls, 64 at a time, with deadlines of two seconds and up to four attempts.
ChaosReport run_chaos(int calls, unsigned seed);

}  // namespace kernelites
