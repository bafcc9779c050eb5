// SPDX-License-Identifier: Apache-2.0
// Fields that several kinds of endpoints have in their configuration. Each throws ConfigError naming the field.
#pragma once

#include <chrono>
#include <string>

#include "engine/core/json.h"
#include "engine/llm/price_list.h"

namespace kernelites {

std::chrono::milliseconds read_seconds(ObjectReader& reader, const char* key,
                                       std::chrono::milliseconds fallback);
/// 1 to `max`.
std::int64_t read_count(ObjectReader& reader, const char* key, std::int64_t fallback, std::int64_t max);
/// Not negative, finite; `what` is the rest of "expected ...".
double read_amount(ObjectReader& reader, const char* key, double fallback, const char* what);
/// An http or https URL without white space, fragment, user name or password.
std::string read_url(ObjectReader& reader, const char* key, const std::string& url);
/// The name of an environment variable. A value that is no name is not shown: it may be the key itself.
std::string check_variable_name(ObjectReader& reader, const char* key, const std::string& name);
/// The member "prices", whose date must be there; all zero without it.
PriceList read_prices(ObjectReader& parent);

inline constexpr std::int64_t k_in_flight_most = 256;

}  // namespace kernelites
