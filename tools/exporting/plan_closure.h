// SPDX-License-Identifier: Apache-2.0
// The part of a candidate that its plan needs, as host code: what an export compiles, and nothing else of the file.
//
// A candidate is one .cu: device kernels, and a constexpr `plan`. Kernels mean nothing to a host compiler (inline PTX,
// intrinsics), so the declarations that `plan` reaches are taken out, in their order, as they were written: constants,
// types, constexpr functions. Everything that is not constexpr stays behind, members of structs too: a constant
// expression cannot call it. Includes stay behind; macros that are named and conditions around what was taken come
// along. Variables become constexpr, and closure_rules.h refuses words that a host compiler knows and arithmetic does
// not need. What was left out by mistake shows as a compile error, and what means something else to a host compiler in
// the comparison of plans (host_proof.h).
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
