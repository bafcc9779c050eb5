// SPDX-License-Identifier: Apache-2.0
// A run as steps: what was asked from which parent, what came back, and what the harness found of it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "archive/archive.h"
#include "engine/core/task.h"
#include "tools/dataset/kin_groups.h"

namespace kernelites {

/// Which steps are wanted.
struct StepChoice {
  bool has_programs = false;         ///< also what no model proposed: seeds, tunings, minimisations
  std::vector<std::string> secrets;  ///< taken out of all texts
};

/// One line of a data set, without "family" and "split".
struct Step {
  std::string id;        ///< of parent, reply and result: the same step in two runs has one id
  std::string relative;  ///< candidate id by which its family is found: the child's, else the parent's
  Json record;           ///< as tools/dataset/dataset_schema.json says
};

/// Who is told of a run, piece by piece: a run has more text than memory should hold.
struct StepVisitor {
  std::function<void(Kin kin)> kin;  ///< of every candidate of the run, also of those that are in no step
  std::function<void(Step step)> step;
  std::function<void(const std::string& why)> left_out;
};

/// Reads a run by ordinal and keeps nothing of it; `name` is what records call it.
void read_steps(const Archive& archive, const Task& task, const std::string& name, const StepChoice& choice,
                const StepVisitor& visitor);

}  // namespace kernelites
