// SPDX-License-Identifier: Apache-2.0
// What one episode of the agent operator may use up.
#pragma once

#include <cstdint>

namespace kernelites {

/// 0 means no limit, save for steps, which always have one.
struct AgentLimits {
  int steps = 24;                 ///< model calls
  std::int64_t tokens = 400'000;  ///< input + output of all its calls
  double device_s = 120;          ///< seconds of the device
  int candidates = 12;            ///< that it may have evaluated
  bool operator==(const AgentLimits&) const = default;
};

}  // namespace kernelites
