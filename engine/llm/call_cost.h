// SPDX-License-Identifier: Apache-2.0
// What a call of a model costs: one value from the endpoint through the reply to the ledger, and the bound beside it.
#pragma once

#include <algorithm>
#include <cstdint>

namespace kernelites {

/// An upper bound of costs. As a limit, 0 means none.
struct CostBound {
  std::int64_t tokens = 0;  ///< input + output
  double usd = 0;
  CostBound& operator+=(const CostBound& other);
  bool operator==(const CostBound&) const = default;
};

/// True if `next` on top of `so_far` keeps within `limit`.
bool fits(const CostBound& so_far, const CostBound& next, const CostBound& limit);

/// Tokens by kind, money by the endpoint's price list. Sums of attempts, endpoints and calls are of the same kind.
struct CallCost {
  std::int64_t input_tokens = 0;         ///< all of them
  std::int64_t cached_input_tokens = 0;  ///< the part of the input that the server had cached
  std::int64_t output_tokens = 0;        ///< all of them
  std::int64_t reasoning_tokens = 0;     ///< the part of the output that was thought, not said
  std::int64_t cache_write_tokens = 0;   ///< the part of the input that the server put into its cache
  double usd = 0;                        ///< 0 if there is no price list
  bool is_estimated = false;             ///< nobody reported some of it; tokens are counted from bytes
  /// What it can have cost at most: more than the rest says where an answer was lost. What is below the rest counts
  /// as the rest (`most_of`).
  CostBound most = {};

  std::int64_t tokens() const { return input_tokens + output_tokens; }
  CallCost& operator+=(const CallCost& other);
};

/// The bound of a cost: never below what it says itself.
inline CostBound most_of(const CallCost& cost) {
  return {.tokens = std::max(cost.most.tokens, cost.tokens()), .usd = std::max(cost.most.usd, cost.usd)};
}

}  // namespace kernelites
