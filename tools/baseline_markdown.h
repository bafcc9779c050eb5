// SPDX-License-Identifier: Apache-2.0
// docs/baseline_table.md: seeds beside libraries, as measured and kept, for people.
#pragma once

#include <string>
#include <vector>

#include "tools/baseline_table.h"

namespace kernelites {

/// The whole text of docs/baseline_table.md: for each task what `measured` holds of it, marked where it is older than
/// the task or its seeds in `data`.
std::string baseline_markdown(const std::vector<Task>& tasks, const DataRoot& data,
                              const MeasuredBaselines& measured);

}  // namespace kernelites
