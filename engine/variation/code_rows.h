// SPDX-License-Identifier: Apache-2.0
// What the compiled code and the time model say of a kernel, as rows of feedback.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/evaluation.h"
#include "engine/core/feedback_row.h"

namespace kernelites {

/// Machine instructions by what they do ("tensor", "global", ..., "other"), in the order in which they are told; groups
/// that the code has none of are absent. Counted once each in the code, executed or not.
std::vector<std::pair<std::string, std::int64_t>> instruction_groups(const StaticCounts& counts);

/// The histogram of machine instructions by what they do, spills, and what ptxas complained about. Empty where nothing
/// is known (a record of an older version).
std::vector<FeedbackRow> sass_rows(const Examination& examination);

/// The launches of arm 0 that take the longest at each workload, as the virtual GPU models them; at most `count_max`,
/// longest first. Empty on a real device.
std::vector<FeedbackRow> modelled_rows(const Duel& duel, std::size_t count_max = 4);

}  // namespace kernelites
