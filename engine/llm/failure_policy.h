// SPDX-License-Identifier: Apache-2.0
// What each way a call can fail means for the next attempt, the server's reputation and the next endpoint: one table.
#pragma once

#include <span>
#include <string_view>

namespace kernelites {

struct FailurePolicy {
  const char* failure;  ///< as in ModelReply::failure
  bool is_retryable;    ///< the same call may succeed on another attempt
  bool blames_server;   ///< counts towards the circuit breaker: the server is in trouble, not the request
  bool falls_back;      ///< another endpoint may do better
  const char* remedy;   ///< what a person can do
};

/// Every failure that an endpoint of this folder reports.
std::span<const FailurePolicy> failure_policies();
/// The row of a failure; one that is not listed is neither retried nor handed on.
const FailurePolicy& failure_policy(std::string_view failure);

}  // namespace kernelites
