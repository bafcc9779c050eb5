// SPDX-License-Identifier: Apache-2.0
// One command line, as main() runs it.
#pragma once

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "tools/command_line.h"

namespace kernelites::test {

/// What a command left.
struct Called {
  int code = 0;
  std::string out;
  std::string err;
};

/// Runs it in this process, as the program of this build.
inline Called call(const std::vector<std::string>& arguments) {
  std::ostringstream out, err;
  Program program{.out = out,
                  .err = err,
                  .executable = std::filesystem::path(KERNELITES_BUILD_DIR) / "tools" / "kernelites"};
  const int code = run_program(arguments, program);
  return {code, out.str(), err.str()};
}

}  // namespace kernelites::test
