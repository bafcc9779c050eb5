// SPDX-License-Identifier: Apache-2.0
// Whether the object file of a plan is a function and constants: nothing runs at load, nothing outside is called.
#pragma once

#include <string>
#include <string_view>

namespace kernelites {

/// What the object (ELF, 64 bits) holds beyond the function `name`, inline functions and constants, in words; empty:
/// nothing. Refused are code that runs at a program's start or end, variables, symbols of other files but arithmetic
/// of the C library, further exported functions, and what cannot be read.
std::string object_trouble(std::string_view object, std::string_view name);

}  // namespace kernelites
