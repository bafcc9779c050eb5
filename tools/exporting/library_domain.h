// SPDX-License-Identifier: Apache-2.0
// The shapes that an exported library takes, and draws of them.
//
// A task has no domain of its own; what was proven is its check and bench workloads and draws from its hold-out ranges.
// The domain spans them: from the least to the largest extent of every dim. A dim that is a multiple of another one in
// all of them (query heads of key-value heads), or of one number, stays one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "engine/core/task.h"

namespace kernelites {

/// Extents of the variable dims, in the task's order.
using Shape = std::vector<std::int64_t>;

struct DomainRange {
  std::string dim;
  std::int64_t low = 1, high = 1;
};

/// `dim` is a multiple of dim number `of`, or, where that is below 0, of `number`.
struct DomainMultiple {
  int dim = 0, of = -1;
  std::int64_t number = 1;
};

struct LibraryDomain {
  std::vector<DomainRange> ranges;  ///< one for each variable dim
  std::vector<DomainMultiple> multiples;
};

/// `changes`: "S=1:262144" replaces a range. Throws ConfigError naming --domain.
LibraryDomain domain_of(const Task& task, const std::vector<std::string>& changes);

bool is_within(const LibraryDomain& domain, const Shape& shape);

/// `count` different shapes of the domain if it has as many, half of them near the task's workloads, which come first.
std::vector<Shape> draw_shapes(const Task& task, const LibraryDomain& domain, std::size_t count,
                               std::uint64_t seed);

Shape shape_of(const Task& task, const std::map<std::string, std::int64_t>& dims);

void to_json(Json& json, const LibraryDomain& domain);

}  // namespace kernelites
