// SPDX-License-Identifier: Apache-2.0
// `kernelites tasks --seeds`: the seeds of tasks, all of which must pass at their tasks' small shapes.
#pragma once

#include <vector>

#include "engine/core/digest.h"
#include "tools/control_table.h"

namespace kernelites {

/// `task` as a quick examination takes it: check shapes only, of which the smallest stands in for the bench shapes, and
/// of the input families the first, those that properties need, and one more that `key` draws.
Task small_task(const Task& task, const Key& key);

/// Examines every seed of `tasks` at the small shapes, several at a time, prints a line when each is done and then
/// "N passed, N failed"; the exit code says whether one failed. A task without seeds counts as failed; a seed that the
/// virtual GPU cannot execute is told so and counts as neither. Keys are fixed, so that the outcome is too.
void run_seeds(const std::vector<Task>& tasks, const DataRoot& data, const ControlOptions& options,
               Program& program);

}  // namespace kernelites
