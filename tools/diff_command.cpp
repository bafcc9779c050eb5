// SPDX-License-Identifier: Apache-2.0
// kernelites diff: two candidates of a run side by side, in times, plan, code, counters and source.
#include <memory>

#include "engine/core/error.h"
#include "tools/inspect/change_text.h"
#include "tools/option_checks.h"
#include "tools/reading_commands.h"
#include "tools/terminal.h"

namespace kernelites {
namespace {

struct DiffOptions {
  std::string run;
  std::string before;
  std::string after;
  std::size_t width = 0;
  std::size_t context = 3;
  bool is_source = false;
  bool is_json = false;
};

void diff(const DiffOptions& options, Program& program) {
  if (options.after.empty())
    throw ConfigError("AFTER", "",
                      "is needed: a second candidate, by its number or the first characters of its id");
  const RunReader run = read_run(options.run);
  const CandidateChange change =
      change_between(run, candidate_end(run, options.before), candidate_end(run, options.after));
  if (options.is_json) {
    program.out << change_json(change).dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return;
  }
  const ChangeView view{.columns = screen_columns(program, options.width),
                        .has_color = program.has_color,
                        .context = options.context};
  program.out << (options.is_source ? source_change_text(change, view) : change_text(change, view));
}

}  // namespace

void add_diff_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<DiffOptions>();
  command.add_option("run", options->run, "The run folder")->required();
  command.add_option("before", options->before, "A candidate: its number or the first characters of its id")
      ->required();
  command.add_option("after", options->after, "The one to compare with it (needed)");
  command
      .add_option("--width", options->width,
                  "Columns; from 120 on sources stand side by side (default: the terminal's)")
      ->check(check_not_negative);
  command.add_option("--context", options->context, "Unchanged lines around a change")
      ->check(CLI::Range(0, 1000));
  command.add_flag("--source", options->is_source, "Only the sources");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer("Example: kernelites diff runs/first 3 12");
  command.callback([options, &program] { diff(*options, program); });
}

}  // namespace kernelites
