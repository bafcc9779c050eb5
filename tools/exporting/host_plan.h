// SPDX-License-Identifier: Apache-2.0
// A candidate's plan as a source file of the exported library: what the user's host compiler is given.
//
// The file includes kernelites/plan.cuh and of the standard headers <initializer_list> alone; `std` and `kernelites`
// are renamed in it, so that what those headers define never meets the definitions of the program around it.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "engine/core/task.h"
#include "tools/exporting/export_files.h"
#include "tools/exporting/plan_closure.h"
#include "tools/exporting/portfolio.h"

namespace kernelites {

/// Compile flags of that file besides -std=c++20: no contraction, since the constant evaluator has none.
inline constexpr const char* k_plan_flags =
    "-ffp-contract=off -w -fsanitize=bounds -fsanitize-undefined-trap-on-error";

/// The text of `src/plan_<label>.cpp`: the function `plan_<label>` of type PlanFunction (runtime/library_core.h).
std::variant<std::string, ClosureProblem> host_plan(const Task& task, const PortfolioArm& arm);

/// What it includes: the contract's headers and the shim for CUDA's words, under their paths below src/.
std::vector<ExportFile> host_plan_headers();

/// "Hq*D" as a C++ expression of doubles named as the dims, with min, max, cdiv, floor, sqrt, exp, log of a namespace
/// `formula`.
std::string formula_expression(const std::string& formula);

}  // namespace kernelites
