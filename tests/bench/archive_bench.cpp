// SPDX-License-Identifier: Apache-2.0
// archive_bench MEASURE: what the archive and the controller cost, as one JSON object per line.
//
//   insertions   candidates a second into a grid in memory; --stream writes them for tests/bench/pyribs_bench.py
//   durable      candidates a second told to a database that keeps them through a power cut
//   selection    choosing the next variation, beside a grid that is full and a history
//   controller   the whole loop with a model and a worker that take no time, beside histories of growing length
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "engine/core/error.h"
#include "tests/bench/archive_measures.h"

int main(int argc, char** argv) {
  using namespace kernelites;
  CLI::App app("What the archive and the controller cost");
  app.require_subcommand(1);
  InsertionOptions insertions;
  DurableOptions durable;
  ControllerOptions controller;
  int selections = 20'000;
  CLI::App* command = app.add_subcommand("insertions", "candidates a second into a grid in memory");
  command->add_option("--count", insertions.count, "candidates")->capture_default_str();
  command->add_option("--stream", insertions.stream, "file that gets the cells and objectives");
  command = app.add_subcommand("durable", "candidates a second told to a database");
  command->add_option("--count", durable.count, "candidates")->capture_default_str();
  command->add_option("--folder", durable.folder, "where the database goes")->capture_default_str();
  command = app.add_subcommand("selection", "choosing the next variation");
  command->add_option("--count", selections, "choices")->capture_default_str();
  command = app.add_subcommand("controller", "the loop's own time per candidate");
  command->add_option("--histories", controller.histories, "candidates that were told before")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--candidates", controller.candidates, "that are run and timed")->capture_default_str();
  command->add_option("--folder", controller.folder, "where the databases go")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    if (app.got_subcommand("insertions")) measure_insertions(insertions);
    if (app.got_subcommand("durable")) measure_durable(durable);
    if (app.got_subcommand("selection")) measure_selection(selections);
    if (app.got_subcommand("controller")) measure_controller(controller);
  } catch (const std::exception& error) {
    fmt::print(stderr, "archive_bench: {}\n", error.what());
    return 1;
  }
  return 0;
}
