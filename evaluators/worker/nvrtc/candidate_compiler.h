// SPDX-License-Identifier: Apache-2.0
// From a candidate's text to checked plans and code: text rules, plan unit, code unit, resources, plan check.
#pragma once

#include <span>
#include <variant>

#include "engine/core/candidate.h"
#include "engine/core/device_facts.h"
#include "engine/core/task.h"
#include "engine/core/verdict.h"
#include "evaluators/worker/contract/compiled_candidate.h"
#include "evaluators/worker/contract/problem_source.h"
#include "evaluators/worker/nvrtc/compile_child.h"

namespace kernelites::worker {

/// Seconds that one compile may take before its child is killed.
inline constexpr double k_plan_deadline_s = 10;
inline constexpr double k_code_deadline_s = 60;

/// Compiles `candidate` for `points` and checks every plan against the task, the device and the code. A
/// failure is a verdict of stage "plan" or "compile" with diagnostics in the candidate's own line numbers;
/// the log in it quotes no file. The first point whose plan is wrong decides. Thread-safe as `compiler` is.
std::variant<CompiledCandidate, Verdict> compile_candidate(Compiler& compiler, const Candidate& candidate,
                                                           const Task& task, Form form,
                                                           std::span<const PlanPoint> points,
                                                           const DeviceFacts& device);

}  // namespace kernelites::worker
