// SPDX-License-Identifier: Apache-2.0
// The rules that tie the sections of a task together, applied once at loading. Internal to engine/core.
#pragma once

#include <string>

#include "engine/core/task.h"

namespace kernelites {

/// Adds the constant dims to every workload, then checks: names are unique among dims, scalars and tensors;
/// shapes, rows, fills and valid prefixes name what exists; workloads and hold-out ranges bind exactly the
/// variable dims; every output has a precision and starts with the row dims; the roofline formulas have
/// values. Throws ConfigError.
void complete_and_check_task(Task& task, const std::string& where);

}  // namespace kernelites
