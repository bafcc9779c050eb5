// SPDX-License-Identifier: Apache-2.0
// What failed repeatedly, and whose it was: failed candidates and refused replies by cause, operator and endpoint.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "archive/database.h"

namespace kernelites {

struct FailureGroup {
  std::string stage;   ///< of the harness; "reply" for a reply without a candidate
  std::string reason;  ///< a code
  std::string operator_name;
  std::string endpoint;  ///< empty: no model
  std::int64_t count = 0;
  std::uint64_t newest = 0;  ///< ordinal of the last of them
};

/// The most frequent first. Reads no long text. Throws Error if the database fails.
std::vector<FailureGroup> failure_groups(Database& database);

}  // namespace kernelites
