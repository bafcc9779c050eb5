// SPDX-License-Identifier: Apache-2.0
// Whether a plan's text could form an address or follow one: a program runs it without the evaluator's checks.
//
// The rules look at tokens and know no types, so they refuse whatever is not clearly arithmetic: a star or an ampersand
// must stand between two operands, references are parameters or `auto& name = ...`, indices stay in declarations of
// members, and what the contract's own arrays are indexed by cannot be named.
#pragma once

#include <string>
#include <string_view>

namespace kernelites {

/// The token that is refused, from blanked code (comments and texts emptied); empty: none.
std::string address_trouble(std::string_view code);

}  // namespace kernelites
