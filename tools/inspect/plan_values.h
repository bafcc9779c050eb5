// SPDX-License-Identifier: Apache-2.0
// A launch plan as named values in words, so that two plans can be compared value by value.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/launch_plan.h"

namespace kernelites {

/// "launches" -> "2", "split_kv grid" -> "8 x 32 x 1 (256 blocks)", "workspaces" -> "2, 532480 B", ... Flags that are
/// not set are absent. Launches are named by their kernels without template arguments, further ones of a kernel by
/// "#2".
std::vector<std::pair<std::string, std::string>> plan_values(const LaunchPlan& plan);

std::int64_t blocks_of(const PlannedLaunch& launch);

}  // namespace kernelites
