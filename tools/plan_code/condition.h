// SPDX-License-Identifier: Apache-2.0
// The value of a preprocessor condition whose macros are replaced.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tools/plan_code/plan_tokens.h"

namespace kernelites {

/// Nothing if it is more than arithmetic on whole numbers, `true` and `false`, or divides by zero.
std::optional<std::int64_t> condition_value(const std::vector<PlanToken>& tokens);

}  // namespace kernelites
