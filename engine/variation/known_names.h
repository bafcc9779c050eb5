// SPDX-License-Identifier: Apache-2.0
// Names that C++, CUDA and the contract give a meaning: they tell what code does and stay in disguised source.
#pragma once

#include <string_view>

namespace kernelites {

/// True for keywords, built-in variables and functions, intrinsics, types and the members of a plan.
bool is_known_name(std::string_view word);

}  // namespace kernelites
