// SPDX-License-Identifier: Apache-2.0
// A change from one candidate to another as parts that can be applied one by one: hunks of lines and tunables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/candidate.h"

namespace kernelites {

/// One part. A hunk replaces the lines [begin, end) of the old source; a tunable takes another value.
struct ChangePart {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::vector<std::string> lines = {};
  std::string tunable = {};  ///< not empty: no hunk
  std::int64_t value = 0;
  bool operator==(const ChangePart&) const = default;
};

/// More parts are merged with their neighbours.
inline constexpr std::size_t k_change_parts_max = 64;

/// The parts that lead from `from` to `to`, in the order of lines, tunables last. Hunks of comments and white space
/// only are left out, except tunables' declarations.
std::vector<ChangePart> change_parts(const Candidate& from, const Candidate& to);

/// `from` with some of the parts applied. REQUIRES: `parts` are some of `change_parts(from, ...)`, in their order.
Candidate with_parts(const Candidate& from, const std::vector<ChangePart>& parts);

}  // namespace kernelites
