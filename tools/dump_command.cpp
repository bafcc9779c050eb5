// SPDX-License-Identifier: Apache-2.0
// kernelites dump: the canonical text of a run, by which golden runs are compared.
#include "archive/dump.h"

#include <memory>

#include "engine/search/recordings.h"
#include "tools/command_line.h"

namespace kernelites {
namespace {

struct DumpOptions {
  std::string run;
  bool is_signature = false;
  bool has_replies = false;
  bool is_json = false;
};

void print_dump(const DumpOptions& options, Program& program) {
  const Archive archive = Archive::open_read_only(options.run);
  if (options.has_replies)
    program.out << recording_text(recording_of(archive, true), seed_names(archive));
  else if (options.is_json)
    program.out << Json{{"signature", golden_signature(archive)}}.dump() << "\n";
  else if (options.is_signature)
    program.out << golden_signature(archive) << "\n";
  else
    program.out << dump(archive);
}

}  // namespace

void add_dump_command(CLI::App& command, Program& program) {
  auto options = std::make_shared<DumpOptions>();
  command.add_option("run", options->run, "The run folder")->required();
  command.add_flag("--signature", options->is_signature, "Only the SHA-256 of the text");
  command.add_flag("--replies", options->has_replies,
                   "Prompts and replies as a recording, for --endpoint replay:FILE");
  command.add_flag("--json", options->is_json, "The signature as JSON");
  command.footer("Example: kernelites dump runs/first --signature");
  command.callback([options, &program] { print_dump(*options, program); });
}

}  // namespace kernelites
