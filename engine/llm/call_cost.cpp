// SPDX-License-Identifier: Apache-2.0
// Sums of costs.
#include "engine/llm/call_cost.h"

namespace kernelites {

CostBound& CostBound::operator+=(const CostBound& other) {
  tokens += other.tokens;
  usd += other.usd;
  return *this;
}

bool fits(const CostBound& so_far, const CostBound& next, const CostBound& limit) {
  constexpr double k_rounding = 1e-9;  // sums of the same amounts in another order
  if (limit.tokens > 0 && so_far.tokens + next.tokens > limit.tokens) return false;
  return limit.usd <= 0 || so_far.usd + next.usd <= limit.usd * (1 + k_rounding);
}

CallCost& CallCost::operator+=(const CallCost& other) {
  CostBound bound = most_of(*this);
  bound += most_of(other);
  input_tokens += other.input_tokens;
  cached_input_tokens += other.cached_input_tokens;
  output_tokens += other.output_tokens;
  reasoning_tokens += other.reasoning_tokens;
  cache_write_tokens += other.cache_write_tokens;
  usd += other.usd;
  is_estimated |= other.is_estimated;
  most = bound;
  return *this;
}

}  // namespace kernelites
