// SPDX-License-Identifier: Apache-2.0
// The controller's entry point.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string_view>

#include "tools/command_line.h"
#include "tools/last_words.h"

/// Before all other constructors: one of them may want memory that is not there.
[[gnu::constructor(101)]] static void before_main() { kernelites::install_last_words(); }

int main(int argc, char** argv) {
  // Whoever stops reading our output, or a worker that dies, must not end a run; writing then fails by itself.
  signal(SIGPIPE, SIG_IGN);
  std::error_code ignored;
  kernelites::Program program{.out = std::cout,
                              .err = std::cerr,
                              .executable = std::filesystem::read_symlink("/proc/self/exe", ignored),
                              .is_terminal = isatty(STDOUT_FILENO) != 0};
  // A terminal that says it is dumb cannot rewrite lines: it gets the text that a file gets.
  const char* kind = std::getenv("TERM");
  program.is_terminal = program.is_terminal && !(kind != nullptr && std::string_view(kind) == "dumb");
  // The other setting that the whole world agrees to read from the environment: https://no-color.org
  const char* no_color = std::getenv("NO_COLOR");
  program.has_color = program.is_terminal && (no_color == nullptr || *no_color == 0);
  return kernelites::run_program({argv + 1, argv + argc}, program);
}
