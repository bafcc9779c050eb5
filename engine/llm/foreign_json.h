// SPDX-License-Identifier: Apache-2.0
// JSON that a server, a model or a program in a jail wrote, which may be anything: parsed within limits, and what is
// missing or of another type is empty.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "engine/core/json.h"

namespace kernelites {

/// Objects and lists inside each other: whatever goes through them calls itself once for each.
inline constexpr std::size_t k_foreign_depth_max = 64;
/// Members of one object: finding a member takes time that grows with their number.
inline constexpr std::size_t k_foreign_keys_max = 1024;

/// The one way to read JSON that others wrote: discarded if it is no JSON or no modest one. Never throws.
Json parse_foreign_json(std::string_view text);

/// The member, or null.
inline const Json& child_at(const Json& object, const char* key) {
  static const Json k_null;
  if (!object.is_object()) return k_null;
  const auto found = object.find(key);
  return found == object.end() ? k_null : *found;
}

/// The string at `key`, or "".
inline std::string text_at(const Json& object, const char* key) {
  const Json& value = child_at(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

/// The number at `key`, not negative, or 0.
inline std::int64_t count_at(const Json& object, const char* key) {
  const Json& value = child_at(object, key);
  if (!value.is_number()) return 0;
  constexpr double k_most = 1e15;  // a count beyond it is nonsense, and would overflow
  return static_cast<std::int64_t>(std::clamp(value.get<double>(), 0.0, k_most));
}

/// A schema given as text; what is not JSON becomes an empty object.
inline Json schema_at(const std::string& text) {
  Json json = parse_foreign_json(text);
  return json.is_discarded() ? Json::object() : json;
}

/// Whether a schema's object allows no other members: what "strict" servers want.
inline bool is_closed_schema(const Json& schema) {
  const Json& additional = child_at(schema, "additionalProperties");
  return additional.is_boolean() && !additional.get<bool>();
}

}  // namespace kernelites
