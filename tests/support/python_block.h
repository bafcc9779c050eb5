// SPDX-License-Identifier: Apache-2.0
// Runs the Python that a documentation page shows, as it stands there.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "tests/support/temporary_folder.h"

namespace kernelites {

struct PythonRun {
  int code = -1;
  std::string out;  ///< of both streams
};

/// The `number`-th ```python block of a page under docs/, run with these arguments for at most a minute.
inline PythonRun run_python_block(const std::string& page, const std::vector<std::string>& arguments,
                                  int number = 0) {
  const std::string text = read_text(std::filesystem::path(KERNELITES_SOURCE_DIR) / "docs" / page);
  std::size_t begin = 0;
  for (int i = 0; i <= number; ++i) {
    begin = text.find("```python\n", begin);
    if (begin == std::string::npos) return {};
    begin += 10;
  }
  const TemporaryFolder folder;
  const std::string script = (folder.path() / "block.py").string();
  std::ofstream(script) << text.substr(begin, text.find("\n```\n", begin) + 1 - begin);
  std::string command = "timeout 60 python3 '" + script + "'";
  for (const std::string& argument : arguments) command += " '" + argument + "'";
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  PythonRun run;
  for (int c = pipe == nullptr ? EOF : fgetc(pipe); c != EOF; c = fgetc(pipe))
    run.out += static_cast<char>(c);
  const int status = pipe == nullptr ? -1 : pclose(pipe);
  run.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return run;
}

}  // namespace kernelites
