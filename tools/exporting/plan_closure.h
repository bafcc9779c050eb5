// SPDX-License-Identifier: Apache-2.0
// The part of a candidate that its plan needs, as host code: what an export compiles, and nothing else of the file.
//
// A candidate is one .cu: device kernels, and a constexpr `plan`. Kernels mean nothing to a host compiler (inline PTX,
// intrinsics), so the declarations that `plan` reaches are taken out, in their order, as they were written: constants,
// types, constexpr functions. Everything that is not constexpr stays behind, members of structs too: a constant
// expression cannot call it. Includes stay behind; macros that are named and conditions around what was taken come
// along. No compiler sees this text: plan_code.h reads it and writes what it says anew. What was left out by mistake is
// a name that nobody declared there.
#pragma once

#include <string>
#include <string_view>
#include <variant>

namespace kernelites {

/// Why there is no closure, in words.
struct ClosureProblem {
  std::string words;
};

/// The declarations behind `plan`, `plan` last. REQUIRES: `source` passed `check_source`.
std::variant<std::string, ClosureProblem> plan_closure(std::string_view source);

}  // namespace kernelites
