// SPDX-License-Identifier: Apache-2.0
// The terminal that a command prints to.
#include "tools/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

namespace kernelites {

std::size_t screen_columns(const Program& program, std::size_t given) {
  constexpr std::size_t k_least = 40, k_most = 400;
  if (given > 0) return std::clamp(given, k_least, k_most);
  winsize size{};
  if (!program.is_terminal || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return k_columns_default;
  return std::clamp<std::size_t>(size.ws_col, k_least, k_most);
}

ScreenSize terminal_size() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {.columns = size.ws_col, .rows = size.ws_row};
}

}  // namespace kernelites
