// SPDX-License-Identifier: Apache-2.0
// Shares by name, as a run's configuration and steer.json have them.
#pragma once

#include <fmt/format.h>

#include <map>
#include <string>

#include "engine/core/json.h"

namespace kernelites {

inline constexpr double k_share_max = 1e6;

/// The member `key`, or `otherwise` where there is none. Throws ConfigError naming the share that is no number from 0
/// to k_share_max.
inline std::map<std::string, double> read_shares(ObjectReader& reader, const char* key,
                                                 std::map<std::string, double> otherwise = {}) {
  const Json json = reader.optional(key, Json(otherwise));
  if (!json.is_object()) reader.fail(key, "expected an object of numbers");
  std::map<std::string, double> shares;
  for (const auto& [name, share] : json.items()) {
    const std::string field = fmt::format("{}.{}", key, name);
    if (!share.is_number()) reader.fail(field, "expected a number");
    shares[name] = share.get<double>();
    if (!(shares[name] >= 0 && shares[name] <= k_share_max))
      reader.fail(field, fmt::format("is {}, expected 0 to {}", shares[name], k_share_max));
  }
  return shares;
}

}  // namespace kernelites
