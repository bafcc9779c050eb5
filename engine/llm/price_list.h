// SPDX-License-Identifier: Apache-2.0
// What a call costs, and what it can cost at most.
#pragma once

#include <string>

#include "engine/llm/endpoint.h"

namespace kernelites {

/// What tokens cost, in US dollars per million. All zero: unknown, every call counts as free.
struct PriceList {
  double input_usd_per_million = 0;
  double cached_input_usd_per_million = 0;
  double cache_write_usd_per_million = 0;
  double output_usd_per_million = 0;
  std::string date;  ///< when the prices were looked up, YYYY-MM-DD
  bool operator==(const PriceList&) const = default;
};

/// Cost of `usage`, whose cached and cache-written tokens are parts of its input tokens.
double price_usd(const CallCost& usage, const PriceList& prices);

/// Upper bound for one attempt: all tokens that the input can have at the dearest kind of input, all of the output.
double price_usd_max(const ModelRequest& request, const PriceList& prices);

}  // namespace kernelites
