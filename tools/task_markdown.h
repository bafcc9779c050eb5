// SPDX-License-Identifier: Apache-2.0
// docs/task_table.md: what the task files say, as a table for people.
#pragma once

#include <string>
#include <vector>

#include "tools/data_root.h"

namespace kernelites {

/// The whole text of docs/task_table.md for `tasks`. Throws ConfigError if a task's files are wrong.
std::string task_markdown(const std::vector<Task>& tasks, const DataRoot& data);

}  // namespace kernelites
