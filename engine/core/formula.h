// SPDX-License-Identifier: Apache-2.0
// Arithmetic formulas in task files: "4*sum_len*Hq*D", "max(1, N/2)".
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace kernelites {

/// Value of `formula` with the given names. Grammar: + - * / and parentheses with the usual precedence, decimal
/// numbers ("1e6" too), names, min(a, b), max(a, b), cdiv(a, b) (rounded up), floor, sqrt, exp, log. Throws Error
/// saying what is wrong and at which character: syntax, an unknown name (the known ones are listed), more than 64
/// levels of nesting, a result that is not finite.
double evaluate_formula(std::string_view formula, const std::map<std::string, double>& names);

}  // namespace kernelites
