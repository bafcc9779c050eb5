// SPDX-License-Identifier: Apache-2.0
// Where the time of a kernel goes, in about ten numbers with a line of meaning each, the limiting roof first.
//
// One table of rows, for prompts and for people. Every source of numbers (times, occupancy, hardware counters,
// compiled code) adds rows of its own; a number that is not known has no row.
#pragma once

#include <string>
#include <vector>

#include "engine/core/feedback_row.h"
#include "engine/variation/operator.h"

namespace kernelites {

/// The workload that the rows are about: the one with counters, else the timed one that is farthest from its floor;
/// null if nothing is timed.
const Workload* explained_workload(const Task& task, const DeviceFacts& device, const Specimen& specimen);

/// At most `k_feedback_rows_max`, the most telling first. Empty for a specimen that was not timed.
std::vector<FeedbackRow> feedback_rows(const Task& task, const DeviceFacts& device, const Specimen& specimen);
inline constexpr std::size_t k_feedback_rows_max = 12;

/// The rows of hardware counters. `time_us` > 0: of the workload without counters.
std::vector<FeedbackRow> counter_rows(const CounterReport& report, const RooflineCounts& counts,
                                      const DeviceFacts& device, double time_us);

/// The table as text, one line a row; empty where there are no rows.
std::string feedback_text(const Task& task, const DeviceFacts& device, const Specimen& specimen);

}  // namespace kernelites
