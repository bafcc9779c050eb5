// SPDX-License-Identifier: Apache-2.0
// A plan as host code of our own writing: what its text says, and nothing that a compiler could read into it.
//
// The text is read by a grammar of integers and reals: constants and tables, structs, enumerations, functions and
// named lambdas; if, for, while, do, switch, return; the operators on numbers; members of Problem and calls of Plan,
// launches, tensor maps and tensors; templates over whole numbers. There are no addresses, no memory but variables, no
// recursion, no names but those that were read, and of those none bare but `plan`. Every operator that could be
// undefined becomes a function that notes it instead (tools/exporting/runtime/plan_arithmetic.h), loops and calls count
// their steps, indices are checked: so the function that comes of it writes nothing but its plan, and ends. Whatever
// else a text has is refused with a reason.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>

namespace kernelites {

/// Why there is no code, in words.
struct PlanCodeProblem {
  std::string words;
};

/// The declarations behind `plan` (plan_closure.h) written anew: functions that take a `safe::Run& run` first, `plan`
/// by its name. They compile where `safe`, `kl` and `Problem` are known. `tunables`: macros of the text.
std::variant<std::string, PlanCodeProblem> plan_code(std::string_view closure,
                                                     const std::map<std::string, std::int64_t>& tunables);

}  // namespace kernelites
