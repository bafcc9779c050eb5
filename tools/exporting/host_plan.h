// SPDX-License-Identifier: Apache-2.0
// A candidate's plan as a source file of the exported library: what the user's host compiler is given.
//
// Nothing of the candidate's text is in the file but names and the texts between quotes: plan_code.h reads the plan by
// a grammar of its own and writes it anew. The file includes kernelites/plan.cuh, and `std` and `kernelites` are
// renamed in it, so that what that header defines never meets the definitions of the program around it.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "engine/core/task.h"
#include "tools/exporting/export_files.h"
#include "tools/exporting/plan_closure.h"
#include "tools/exporting/portfolio.h"

namespace kernelites {

/// Compile flags of that file besides -std=c++20: no contraction, since the constant evaluator has none; what the
/// contract's own sums would overflow wraps around.
inline constexpr const char* k_plan_flags = "-ffp-contract=off -fwrapv -w";

/// The text of `src/plan_<label>.cpp`: the function `plan_<label>` of type PlanFunction (runtime/library_core.h).
std::variant<std::string, ClosureProblem> host_plan(const Task& task, const PortfolioArm& arm);

/// What it includes: the contract's headers and the shim for CUDA's words, under their paths below src/.
std::vector<ExportFile> host_plan_headers();

/// "Hq*D" as a C++ expression of doubles named as the dims, with min, max, cdiv, floor, sqrt, exp, log of a namespace
/// `formula`.
std::string formula_expression(const std::string& formula);

}  // namespace kernelites
