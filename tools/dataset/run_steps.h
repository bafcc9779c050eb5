// SPDX-License-Identifier: Apache-2.0
// A run as steps: what was asked from which parent, what came back, and what the harness found of it.
#pragma once

#include <cstddef>
#include <map>
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

struct RunSteps {
  std::vector<Step> steps;  ///< by ordinal
  std::vector<Kin> kin;     ///< of all candidates of the run, also of those that are in no step
  std::map<std::string, std::size_t> left_out;  ///< how many, by why
};

/// Reads a run; `name` is what records call it.
RunSteps read_steps(const Archive& archive, const Task& task, const std::string& name,
                    const StepChoice& choice);

}  // namespace kernelites
