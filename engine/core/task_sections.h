// SPDX-License-Identifier: Apache-2.0
// Readers of the sections of task.json that have a file of their own. Internal to engine/core.
#pragma once

#include <fmt/format.h>

#include "engine/core/identifier.h"
#include "engine/core/json.h"
#include "engine/core/task.h"

namespace kernelites {

/// The named members of an object such as "dims": calls `read(name, ObjectReader)` for each, in the order
/// written.
template <typename Read>
void for_each_named(ObjectReader& parent, const char* key, Read read) {
  const Json& members = parent.member(key);
  if (!members.is_object()) parent.fail(key, "expected an object: name -> description");
  for (const auto& [name, value] : members.items()) {
    if (!is_identifier(name)) parent.fail(key, fmt::format("\"{}\" is not an identifier", name));
    ObjectReader reader(value, parent.where(), fmt::format("{}.{}", parent.field(key), name));
    read(name, reader);
    reader.finish();
  }
}

/// Element type of a tensor or scalar, from "dtype". Throws ConfigError.
Dtype read_dtype(ObjectReader& reader);
/// One member of "tensors". Throws ConfigError.
TensorSpec read_tensor(const std::string& name, ObjectReader& reader);
/// One member of "families". Throws ConfigError.
InputFamily read_family(const std::string& name, ObjectReader& reader);
/// One member of "precision". Throws ConfigError.
Precision read_precision(ObjectReader& reader);
/// One member of "properties". Throws ConfigError.
Property read_property(const std::string& name, ObjectReader& reader);

}  // namespace kernelites
