// SPDX-License-Identifier: Apache-2.0
// Whether a run may still spend: what is used up, plus what is under way, against the limits.
#pragma once

#include <string>

#include "archive/records.h"
#include "engine/search/run_config.h"

namespace kernelites {

/// What is under way and will cost: upper estimates.
struct Reserved {
  std::int64_t candidates = 0;  ///< variations that may yet submit
  std::int64_t tokens = 0;      ///< of calls in flight: prompt / 4 + the output limit
  double usd = 0;               ///< by the endpoint's prices
  double device_s = 0;          ///< of requests in flight: the mean so far
};

/// The first limit that `spent` plus `reserved` reaches: "candidates", "minutes", "usd", "tokens", "device_s"; empty
/// if none. With `reserved` empty it says whether a run is over.
std::string exhausted_budget(const BudgetLimits& limits, const Spent& spent, const Reserved& reserved);

/// True if one more call of at most `tokens` and `usd` stays within the limits even if every call in flight costs
/// its most.
bool can_call(const BudgetLimits& limits, const Spent& spent, const Reserved& reserved, std::int64_t tokens,
              double usd);

}  // namespace kernelites
