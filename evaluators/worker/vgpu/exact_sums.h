// SPDX-License-Identifier: Apache-2.0
// Sums in memory without the roundings on their way: which additions came first does not show in them.
//
// A sum is kept beside its place as two doubles (Knuth's two-sum), as long as the place holds what it rounds to; a
// store in between begins a new one. What orders differ by then is some 2^-100 of a sum, which no rounding shows.
#pragma once

#include <unordered_map>

#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

/// The sums of one launch.
class ExactSums {
 public:
  /// Adds `operand` to the sum at `at`, whose place holds `old`. Returns what it is now, rounded by `round` to the
  /// type of the place, which is to be stored there.
  template <class Round>
  double add(const u8* at, double old, double operand, Round round) {
    Sum& sum = sums_.try_emplace(at, Sum{.high = old, .low = 0, .held = old}).first->second;
    if (sum.held != old) sum = {.high = old, .low = 0, .held = old};  // also where it is no number
    const double high = sum.high + operand, part = high - sum.high;
    sum.low += (sum.high - (high - part)) + (operand - part);
    sum.high = high;
    sum.held = round(high - high == 0 ? high + sum.low : high);
    return sum.held;
  }

 private:
  struct Sum {
    double high, low;  ///< not yet rounded: their sum
    double held;       ///< what the place holds
  };
  std::unordered_map<const u8*, Sum> sums_;
};

}  // namespace kernelites::worker::vgpu
