// SPDX-License-Identifier: Apache-2.0
// Waiting on other people's descriptors where no HTTP is in play.
#pragma once

#include <poll.h>

#include <chrono>
#include <vector>

namespace kernelites {

/// Waits until one of `others` is ready, at most `timeout`; fills their `revents`. A signal ends the wait
/// early.
void poll_wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout);

}  // namespace kernelites
