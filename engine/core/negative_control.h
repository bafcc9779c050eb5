// SPDX-License-Identifier: Apache-2.0
// Wrong kernels that a task's gates must reject: a task that accepts one proves nothing.
//
// tasks/<task>/negative/controls.json holds, by name,
//   {"mistake": words, "seed": file of kernels_seed/<task>, "edits": [[text, replacement], ...]}
// or {"mistake": words, "file": file of the folder negative}. Each text occurs exactly once in the seed. "stages"
// (probe or check if left out) are where the examination may end.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/core/candidate.h"

namespace kernelites {

/// One wrong kernel.
struct NegativeControl {
  std::string name;
  std::string mistake;
  std::vector<std::string> stages;  ///< one of these must reject it
  Candidate candidate;
};

/// The controls of a task's folder; none if it has no `negative/controls.json`. Throws ConfigError naming file, field
/// and expectation.
std::vector<NegativeControl> load_controls(const std::filesystem::path& task_folder,
                                           const std::filesystem::path& seed_folder);

}  // namespace kernelites
