// SPDX-License-Identifier: Apache-2.0
// kernelites log: the events of a run as the lines that the run itself prints, afterwards or as they come.
#include <chrono>
#include <memory>
#include <thread>

#include "engine/search/console_sink.h"
#include "tools/command_line.h"
#include "tools/inspect/run_reader.h"

namespace kernelites {
namespace {

constexpr int k_events_at_once = 1000;
constexpr std::chrono::milliseconds k_poll{500};

struct LogOptions {
  std::string run;
  bool is_following = false;
  bool is_json = false;
};

void log(const LogOptions& options, Program& program) {
  // Lines stay: no progress line is rewritten at the bottom.
  ConsoleSink console(program.out, program.has_color);
  std::int64_t after = 0;
  for (;;) {
    const Archive archive = Archive::open_read_only(options.run);  // of now
    const std::string state = archive.run().state;
    const std::vector<Json> events = archive.events(after, k_events_at_once);
    after +=
        static_cast<std::int64_t>(events.size());  // sequences are 1, 2, ... and no event is ever deleted
    for (const Json& event : events) {
      if (options.is_json)
        program.out << event.dump() << "\n";
      else
        console.on_event(event);
    }
    program.out << std::flush;
    if (!events.empty()) continue;
    // The state was read before the events: a run that had ended has told all.
    const bool is_over = state == "stopped" || state == "done";
    if (!options.is_following || is_over) return;
    std::this_thread::sleep_for(k_poll);
  }
}

}  // namespace

void add_log_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<LogOptions>();
  command.add_option("run", options->run, "The run folder")->required();
  command.add_flag("--follow,-f", options->is_following, "Go on until the run stops");
  command.add_flag("--json", options->is_json, "One event a line, as in events.jsonl");
  command.footer("Example: kernelites log runs/first --follow");
  command.callback([options, &program] { log(*options, program); });
}

}  // namespace kernelites
