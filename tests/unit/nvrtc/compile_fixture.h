// SPDX-License-Identifier: Apache-2.0
// One compiler for all cases of this folder, and one call that compiles a text for workloads of the attention
// task.
#pragma once

#include <fstream>
#include <sstream>
#include <variant>

#include "evaluators/worker/nvrtc/candidate_compiler.h"
#include "tests/support/attention_task.h"

namespace kernelites::worker {

inline Compiler& test_compiler() {
  static Compiler compiler(find_toolkit({}));
  return compiler;
}

inline std::string candidate_text(const std::string& name) {
  return read_text(std::string(KERNELITES_SOURCE_DIR) + "/tests/support/candidates/" + name);
}

inline std::variant<CompiledCandidate, Verdict> compile_text(const std::string& source,
                                                             const std::vector<std::string>& workloads,
                                                             Form form = Form::candidate,
                                                             bool is_hidden = false) {
  static const Task task = attention_task();
  std::vector<PlanPoint> points;
  for (const std::string& name : workloads) {
    points.push_back({.workload = task.find_workload(name), .reference_rows = 5, .is_hidden = is_hidden});
  }
  return compile_candidate(test_compiler(), Candidate{.source = source, .tuning = {}}, task, form, points,
                           hopper_facts());
}

}  // namespace kernelites::worker
