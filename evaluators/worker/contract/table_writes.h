// SPDX-License-Identifier: Apache-2.0
// Whether code could write to the tables of its own module: the one place where state might hide in plain sight.
//
// NVRTC puts constexpr arrays into `.global` memory, which is writable; so is, through a generic address, the bank of
// `__constant__` variables. A table may stay if all that code does with
// its address is on a short list: copy it, add an offset to it, load from it, prefetch it, copy asynchronously from it.
// Whatever else touches an address (a store, a comparison, a call, its halves) refuses the table: data and branches
// made from an address could rebuild it where nothing follows it. Addresses are followed without regard to order, so
// the answer errs towards "could". Time is linear in the size of the code.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "evaluators/worker/contract/ptx_text.h"

namespace kernelites::worker {

/// Instructions that are looked at; a module with tables and more code than that is refused.
inline constexpr std::size_t k_followed_instructions_max = 400'000;

/// The name of a variable of `module` in `.global` space that the code could write, or whose address escapes.
std::optional<std::string> find_writable_table(const std::vector<PtxToken>& tokens, const PtxModule& module);

/// The name of a kernel's parameter whose address is used for more than to load the parameter or to name a tensor map,
/// or the opcode of a conversion or a load that reaches the space of parameters by something else than their names.
/// Parameters lie in memory of the driver's that outlasts a launch and can be written (seen on an H100).
std::optional<std::string> find_escaping_parameter(const std::vector<PtxToken>& tokens);

}  // namespace kernelites::worker
