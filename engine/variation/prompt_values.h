// SPDX-License-Identifier: Apache-2.0
// What fills the placeholders of the prompt files: tasks, devices and specimens in words.
//
// Numbers carry unit, sample count and whether they were measured or modelled. Hold-out ranges, keys and
// tolerances beyond the published precision class never enter a prompt (docs/architecture.md, invariant 4).
#pragma once

#include <set>
#include <string>
#include <vector>

#include "engine/variation/operator.h"
#include "engine/variation/prompt_template.h"

namespace kernelites {

/// A prompt file that the program renders, and the placeholders that it fills there.
struct PromptUse {
  std::string name;
  std::set<std::string> filled;
};

/// The prompt files that the program renders, besides the operators' own.
const std::vector<PromptUse>& prompt_uses();
/// What may stand in prompts/operators/*.md: each file uses what it needs.
const std::set<std::string>& operator_placeholders();

/// Limits of what one prompt quotes.
inline constexpr std::size_t k_inspiration_bytes_max = 20 * 1024;
inline constexpr std::size_t k_diagnostics_max = 8;
inline constexpr std::size_t k_diagnostic_bytes_max = 600;

/// For parts/task.
PromptValues task_values(const Task& task);
/// For parts/device.
PromptValues device_values(const DeviceFacts& device);
/// For parts/parent and parts/inspiration.
PromptValues specimen_values(const Task& task, const DeviceFacts& device, const Specimen& specimen);
/// For parts/lesson.
PromptValues lesson_values(const Lesson& lesson);
/// For parts/failure.
PromptValues failure_values(const Specimen& specimen);
/// For parts/workload: what the parent does at the target workload. REQUIRES: the task has it.
PromptValues workload_values(const VariationInput& input);

/// "cp_async / mma_sync / split_kv": the labels in the order of the axes' names.
std::string describe_cell(const Descriptors& descriptors);
/// One line per bench workload: time, spread, bandwidth, share of the roofline, ratio to the baseline.
std::string describe_timing(const Task& task, const DeviceFacts& device, const Specimen& specimen);
/// The verdict in one sentence and its diagnostics, one a line.
std::string describe_verdict(const Verdict& verdict);
/// One line per kernel: registers, shared memory, spills.
std::string describe_resources(const Examination& examination);

}  // namespace kernelites
