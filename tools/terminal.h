// SPDX-License-Identifier: Apache-2.0
// The terminal that a command prints to.
#pragma once

#include <cstddef>

#include "tools/command_line.h"
#include "tools/live/live_screen.h"

namespace kernelites {

/// Where output is no terminal, and where a terminal does not tell.
inline constexpr std::size_t k_columns_default = 100;

/// How wide lines may be: `given` if it is not 0, else the terminal's width, at least 40.
std::size_t screen_columns(const Program& program, std::size_t given);

/// Of standard output; 80 by 24 where it does not tell.
ScreenSize terminal_size();

}  // namespace kernelites
