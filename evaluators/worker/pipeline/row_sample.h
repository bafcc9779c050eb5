// SPDX-License-Identifier: Apache-2.0
// Which rows of an answer are compared: all of them, or a secret sample that likes borders.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/digest.h"
#include "engine/core/task.h"

namespace kernelites::worker {

/// One list of flattened row numbers, ascending, for each row group of a task.
using RowLists = std::vector<std::vector<std::int64_t>>;

/// Rows to compare: of each group all, or a sample of `wanted`. A sample has the first and the last row, and in a part
/// of its rows an index at a border of tiles (0, 1, 63, 64, 127, 128, the last two).
RowLists draw_rows(const Task& task, const Workload& workload, std::int64_t wanted, const Key& key);

}  // namespace kernelites::worker
