// SPDX-License-Identifier: Apache-2.0
// Time as a value that is passed in, so that tests turn the clock by hand instead of sleeping.
#pragma once

#include <chrono>
#include <functional>

namespace kernelites {

/// Two readings: `steady` for deadlines and durations, `system` for dates that others write (Retry-After).
/// Copies of one clock read the same source.
struct Clock {
  using Steady = std::chrono::steady_clock::time_point;
  using System = std::chrono::system_clock::time_point;

  std::function<Steady()> steady = [] { return std::chrono::steady_clock::now(); };
  std::function<System()> system = [] { return std::chrono::system_clock::now(); };
};

}  // namespace kernelites
