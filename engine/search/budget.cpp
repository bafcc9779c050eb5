// SPDX-License-Identifier: Apache-2.0
// Whether a run may still spend: what is used up, plus what is under way, against the limits.
#include "engine/search/budget.h"

namespace kernelites {

std::string exhausted_budget(const BudgetLimits& limits, const Spent& spent, const Reserved& reserved) {
  if (limits.candidates > 0 && spent.candidates - spent.seeds + reserved.candidates >= limits.candidates)
    return "candidates";
  if (limits.minutes > 0 && spent.wall_s >= 60 * limits.minutes) return "minutes";
  if (limits.usd > 0 && spent.usd_most >= limits.usd) return "usd";
  if (limits.tokens > 0 && spent.tokens_most >= limits.tokens) return "tokens";
  if (limits.device_s > 0 && spent.device_s + reserved.device_s >= limits.device_s) return "device_s";
  return "";
}

bool can_call(const BudgetLimits& limits, const Spent& spent, const CostBound& most) {
  return fits({.tokens = spent.tokens_most, .usd = spent.usd_most}, most,
              {.tokens = limits.tokens, .usd = limits.usd});
}

}  // namespace kernelites
