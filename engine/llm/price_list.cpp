// SPDX-License-Identifier: Apache-2.0
// Tokens times prices.
#include "engine/llm/price_list.h"

#include <algorithm>

namespace kernelites {
namespace {

double cost(std::int64_t tokens, double usd_per_million) {
  return static_cast<double>(tokens) * usd_per_million / 1e6;
}

}  // namespace

double price_usd(const CallCost& usage, const PriceList& prices) {
  const std::int64_t plain =
      std::max<std::int64_t>(0, usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens);
  return cost(plain, prices.input_usd_per_million) +
         cost(usage.cached_input_tokens, prices.cached_input_usd_per_million) +
         cost(usage.cache_write_tokens, prices.cache_write_usd_per_million) +
         cost(usage.output_tokens, prices.output_usd_per_million);
}

double price_usd_max(const ModelRequest& request, const PriceList& prices) {
  const double dearest = std::max({prices.input_usd_per_million, prices.cached_input_usd_per_million,
                                   prices.cache_write_usd_per_million});
  return cost(most_tokens(request), dearest) + cost(request.output_tokens_max, prices.output_usd_per_million);
}

}  // namespace kernelites
