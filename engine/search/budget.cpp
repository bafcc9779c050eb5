// SPDX-License-Identifier: Apache-2.0
// Whether a run may still spend: what is used up, plus what is under way, against the limits.
#include "engine/search/budget.h"

namespace kernelites {

std::string exhausted_budget(const BudgetLimits& limits, const Spent& spent, const Reserved& reserved) {
  if (limits.candidates > 0 && spent.candidates - spent.seeds + reserved.candidates >= limits.candidates)
    return "candidates";
  if (limits.minutes > 0 && spent.wall_s >= 60 * limits.minutes) return "minutes";
  if (limits.usd > 0 && spent.usd + reserved.usd >= limits.usd) return "usd";
  if (limits.tokens > 0 && spent.input_tokens + spent.output_tokens + reserved.tokens >= limits.tokens)
    return "tokens";
  if (limits.device_s > 0 && spent.device_s + reserved.device_s >= limits.device_s) return "device_s";
  return "";
}

bool can_call(const BudgetLimits& limits, const Spent& spent, const Reserved& reserved, std::int64_t tokens,
              double usd) {
  if (limits.usd > 0 && spent.usd + reserved.usd + usd > limits.usd) return false;
  return limits.tokens == 0 ||
         spent.input_tokens + spent.output_tokens + reserved.tokens + tokens <= limits.tokens;
}

}  // namespace kernelites
