// SPDX-License-Identifier: Apache-2.0
// Examinations and duels as text for people, and as JSON with derived figures.
#pragma once

#include <string>

#include "engine/core/evaluation.h"
#include "engine/core/task.h"

namespace kernelites {

/// Verdict, diagnostics, kind, resources, launches of the first plan, worst errors against their gates, notes, stage
/// times.
std::string examination_text(const Examination& examination);
/// One row per workload: time with spread and sample count, measured or modelled, GB/s, share of the copy rate,
/// TFLOP/s, and the ratio to each other arm with its interval.
std::string duel_text(const Task& task, const DeviceFacts& device, const Duel& duel);
/// Times and rates per workload of arm 0.
Json rates_json(const Task& task, const DeviceFacts& device, const Duel& duel);

}  // namespace kernelites
