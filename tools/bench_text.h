// SPDX-License-Identifier: Apache-2.0
// What `kernelites bench` prints: kernels timed against each other and the roofline, as text and as JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/core/task.h"
#include "tools/bench_timing.h"

namespace kernelites {

/// What was measured. Borrows `arms`, `timing` and `repeated`.
struct BenchRecord {
  DeviceFacts device;
  const std::vector<BenchArm>& arms;
  const BenchTiming& timing;
  const std::optional<Duel>& repeated;  ///< the same arms once more in a fresh process; empty: not asked for
};

/// Lines: the device, who was left out and why, then a table of workloads and arms, ratios over the first arm.
std::string bench_text(const Task& task, const BenchRecord& record);

/// The same with every figure: "task", "device", "is_modelled", "passes", "verdict", "notes", "first_verdict" and
/// "verdict_again" where there are such, "arms": [{"name", "verdict"}], "rows": [{"workload", "arm", "timing", ...}].
Json bench_json(const Task& task, const BenchRecord& record);

}  // namespace kernelites
