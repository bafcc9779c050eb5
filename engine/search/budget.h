// SPDX-License-Identifier: Apache-2.0
// Whether a run may still spend: what is used up, plus what is under way, against the limits.
#pragma once

#include <string>

#include "archive/records.h"
#include "engine/llm/call_cost.h"
#include "engine/search/run_config.h"

namespace kernelites {

/// What is under way and will cost besides calls, which count at their most from the moment that they are sent.
struct Reserved {
  std::int64_t candidates = 0;  ///< variations that may yet submit
  double device_s = 0;          ///< of requests in flight: the mean so far
};

/// The first limit that `spent` plus `reserved` reaches: "candidates", "minutes", "usd", "tokens", "device_s"; empty
/// if none. With `reserved` empty it says whether a run is over.
std::string exhausted_budget(const BudgetLimits& limits, const Spent& spent, const Reserved& reserved);

/// True if one more call of at most `most` stays within the limits even if every call costs its most.
bool can_call(const BudgetLimits& limits, const Spent& spent, const CostBound& most);

}  // namespace kernelites
