// SPDX-License-Identifier: Apache-2.0
// What `kernelites doctor` tries of this machine and of a worker: each finding a line, with what to do about it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/llm/endpoint_check.h"
#include "evaluators/evaluator.h"
#include "tools/data_root.h"

namespace kernelites {

using DoctorLine = EndpointCheck;

/// Room for a run's folder where `folder` lies: runs write a few hundred MB.
DoctorLine disk_line(const std::filesystem::path& folder, std::uintmax_t free_bytes);
DoctorLine check_disk(const std::filesystem::path& folder);

/// Lines of a worker's `--inspect` (pipeline/inspection.h), or one line that says why there are none. `command`: launch
/// prefix, the worker and its device.
std::vector<DoctorLine> check_machine(std::vector<std::string> command,
                                      const std::filesystem::path& error_log);
/// The same from what the worker printed.
std::vector<DoctorLine> machine_lines(const std::string& printed);

/// Red-team smoke: seeds of `task` must pass and wrong kernels of it must be rejected, at its small shapes.
DoctorLine check_verdicts(Evaluator& evaluator, const Task& task, const DataRoot& data);

/// A kernel timed against itself at one workload of a task.
struct NullComparison {
  std::string workload;
  double time_us = 0;
  PairedRatio ratio;
};
/// The noise floor of timing: how far a kernel differs from itself, and the least speed-up that a comparison of
/// `rounds` would resolve. Green below 0.3 % with intervals that cover no difference.
DoctorLine noise_line(const std::vector<NullComparison>& comparisons);
/// Measures it with a seed of `task`. The virtual GPU's times repeat exactly: skipped.
DoctorLine check_noise(Evaluator& evaluator, const Task& task, const DataRoot& data);

}  // namespace kernelites
