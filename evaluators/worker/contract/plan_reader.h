// SPDX-License-Identifier: Apache-2.0
// Reads finished plans out of the PTX of a plan unit: the initialiser of `kernelites_plans`.
//
// The initialiser is a stream of 64-bit words (layout: headers/plan.cuh, `detail::Encoder`). PTX may print it
// as .b8, .b32 or .b64 elements and leaves out a tail of zeros. The text is the candidate's to forge, so
// every count is checked; a forged plan is still only a plan, and `check_plan` judges it like any other.
#pragma once

#include <string_view>
#include <variant>
#include <vector>

#include "engine/core/launch_plan.h"
#include "engine/core/verdict.h"

namespace kernelites::worker {

/// The plans in the order of the plan unit's points, or a verdict of stage "plan": `plan_missing`,
/// `plan_unreadable`, or a `plan_...` error that the plan itself recorded (too many arguments, name too long,
/// ...).
std::variant<std::vector<LaunchPlan>, Verdict> read_plans(std::string_view ptx, std::size_t points);

}  // namespace kernelites::worker
