// SPDX-License-Identifier: Apache-2.0
// Whether code could write to the tables of its own module: the one place where state might hide in plain sight.
//
// NVRTC puts constexpr arrays into `.global` memory, which is writable. A table may stay if its address is followed
// through every function and never reaches a store, an atomic, a call or memory. Addresses are followed through data,
// not through branches, and without regard to order, so the answer errs towards "could".
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "evaluators/worker/contract/ptx_text.h"

namespace kernelites::worker {

/// The name of a variable of `module` in `.global` space that the code could write, or whose address escapes.
std::optional<std::string> find_writable_table(const std::vector<PtxToken>& tokens, const PtxModule& module);

}  // namespace kernelites::worker
