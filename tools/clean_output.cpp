// SPDX-License-Identifier: Apache-2.0
// Printing aside, cleaning, printing.
#include "tools/clean_output.h"

#include <sstream>

#include "tools/inspect/screen_text.h"

namespace kernelites {

void print_clean(Program& program, const std::function<void(Program&)>& print) {
  std::ostringstream text;
  Program inner{.out = text,
                .err = program.err,
                .executable = program.executable,
                .is_terminal = program.is_terminal,
                .has_color = program.has_color,
                .exit_code = program.exit_code};
  print(inner);
  program.exit_code = inner.exit_code;
  program.out << clean_text(text.str());
}

}  // namespace kernelites
