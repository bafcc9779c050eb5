// SPDX-License-Identifier: Apache-2.0
// kernelites explain: why a candidate is faster than its parent, and the way from its seed.
#include <memory>

#include "tools/inspect/explain_text.h"
#include "tools/option_checks.h"
#include "tools/reading_commands.h"
#include "tools/terminal.h"

namespace kernelites {
namespace {

struct ExplainOptions {
  std::string run;
  std::string id;
  std::size_t width = 0;
  bool has_all = false;
  bool is_json = false;
};

void explain(const ExplainOptions& options, Program& program) {
  const RunReader run = read_run(options.run);
  std::string id = options.id;
  if (id.empty()) {
    const auto best = run.archive.grid().best();
    if (!best) {
      program.out << "nobody is in the archive yet\n";
      return;
    }
    id = best->candidate_id;
  }
  const CandidateEnd end = candidate_end(run, id);
  const std::vector<GainStep> chain = gain_chain(run, id);
  if (options.is_json)
    program.out << explain_json(run, end, chain).dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  else
    program.out << explain_text(run, end, chain, options.has_all, screen_columns(program, options.width));
}

}  // namespace

void add_explain_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<ExplainOptions>();
  command.add_option("run", options->run, "The run folder")->required();
  command.add_option("id", options->id,
                     "A candidate: its number or the first characters of its id (default: the best)");
  command.add_option("--width", options->width, "Columns (default: the terminal's)")
      ->check(check_not_negative);
  command.add_flag("--all", options->has_all, "The reasons of every step since the seed");
  command.add_flag("--json", options->is_json, "Print JSON");
  command.footer("Example: kernelites explain runs/first 12");
  command.callback([options, &program] { explain(*options, program); });
}

}  // namespace kernelites
