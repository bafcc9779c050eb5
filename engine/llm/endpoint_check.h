// SPDX-License-Identifier: Apache-2.0
// Trying an endpoint before a run depends on it: what works, how fast, and what to do about the rest.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "engine/llm/make_endpoint.h"

namespace kernelites {

enum class CheckState { good, warning, bad, skipped };

/// One thing that was tried. `remedy` is empty where nothing is to be done.
struct EndpointCheck {
  std::string subject;  ///< "key", "server", "model", "call", "stream", "tools", "schema", "prices", ...
  CheckState state = CheckState::good;
  std::string found;
  std::string remedy;
};

/// Tries everything, with a few tiny calls, each within `timeout`, blocking. No text holds a secret. Of a fallback
/// order every endpoint is tried; subjects then carry its name.
std::vector<EndpointCheck> check_endpoint(const EndpointConfig& config, EndpointContext context,
                                          std::chrono::milliseconds timeout = std::chrono::seconds(60));

}  // namespace kernelites
