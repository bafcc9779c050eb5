// SPDX-License-Identifier: Apache-2.0
// A clock that only moves when a test turns it.
#pragma once

#include <chrono>
#include <memory>

#include "engine/core/clock.h"

namespace kernelites {

/// `clock()` may be copied freely; all copies follow `advance`. Both readings start at a fixed moment.
class HandClock {
 public:
  Clock clock() const {
    return {.steady = [now = now_] { return Clock::Steady(*now); },
            .system = [now = now_] { return Clock::System(*now); }};
  }
  void advance(std::chrono::milliseconds time) { *now_ += time; }

 private:
  std::shared_ptr<std::chrono::nanoseconds> now_ =
      std::make_shared<std::chrono::nanoseconds>(std::chrono::seconds(1'700'000'000));
};

}  // namespace kernelites
