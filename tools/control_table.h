// SPDX-License-Identifier: Apache-2.0
// Runs a task's negative controls: each must be rejected, and the table says by what.
#pragma once

#include <string>

#include "engine/core/task.h"
#include "tools/command_line.h"
#include "tools/data_root.h"

namespace kernelites {

/// How controls are run.
struct ControlOptions {
  std::string device = "auto";
  std::string worker;
  std::string log = "/dev/null";
  bool is_json = false;
  std::string record;  ///< of seeds: file that keeps their outcome (task_status.h); empty: none
  std::string date;    ///< of the record
};

/// Examines every control of `task`, prints one row each, and sets the exit code to `exit_failed` if one passes or is
/// rejected at another stage than its own.
void run_controls(const Task& task, const DataRoot& data, const ControlOptions& options, Program& program);

}  // namespace kernelites
