// SPDX-License-Identifier: Apache-2.0
// The breaker's two transitions.
#include "engine/llm/circuit_breaker.h"

#include <algorithm>

namespace kernelites {

void CircuitBreaker::succeeded() {
  failures_ = 0;
  has_trial_ = false;
  cooldown_ = policy_.cooldown_first;
  open_until_ = {};
}

void CircuitBreaker::failed(Clock::Steady now, bool is_trial) {
  if (is_trial) has_trial_ = false;
  if (is_closed()) {
    ++failures_;
    if (is_closed()) return;
  } else if (!is_trial) {
    return;  // it was in flight when the circuit opened
  }
  open_until_ = now + cooldown_;
  cooldown_ = std::min(2 * cooldown_, policy_.cooldown_max);
}

}  // namespace kernelites
