// SPDX-License-Identifier: Apache-2.0
// large_run FOLDER: a run of any size without kernels, for views and figures (tests/support/large_run/large_run.h).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <thread>

#include "tests/support/large_run/large_run.h"

int main(int argc, char** argv) {
  CLI::App app("A run of any size without kernels, models or waiting");
  kernelites::LargeRun run{.data = KERNELITES_SOURCE_DIR, .text = {}};
  std::string folder;
  app.add_option("folder", folder, "where run.db goes")->required();
  app.add_option("--variations", run.variations, "beyond the seeds")->capture_default_str();
  app.add_option("--task", run.task, "whose shapes and seeds are used")->capture_default_str();
  app.add_option("--text", run.text, "appended to every text that a model could have written");
  int pause_ms = 0;
  app.add_option("--pause-ms", pause_ms, "after every variation, as if the run took time");
  app.add_flag("--bare", run.is_bare, "a run that has only begun");
  app.add_flag("--modelled", run.is_modelled, "as on the virtual GPU");
  app.add_flag("--small", run.is_small, "short sources, prompts and bodies");
  CLI11_PARSE(app, argc, argv);
  run.after_each = [pause_ms] { std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms)); };
  try {
    kernelites::write_large_run(folder, run);
  } catch (const std::exception& error) {
    fmt::print(stderr, "large_run: {}\n", error.what());
    return 1;
  }
  return 0;
}
