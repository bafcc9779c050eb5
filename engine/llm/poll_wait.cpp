// SPDX-License-Identifier: Apache-2.0
// poll(2) with a clamped timeout; readiness is cleared when the wait was cut short.
#include "engine/llm/poll_wait.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/core/error.h"

namespace kernelites {

void poll_wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) {
  const int timeout_ms = static_cast<int>(std::clamp<std::int64_t>(timeout.count(), 0, 3'600'000));
  if (::poll(others.data(), others.size(), timeout_ms) >= 0) return;
  if (errno != EINTR) throw Error(std::string("poll failed: ") + std::strerror(errno));
  for (pollfd& other : others) other.revents = 0;
}

}  // namespace kernelites
