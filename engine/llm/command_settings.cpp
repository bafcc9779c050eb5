// SPDX-License-Identifier: Apache-2.0
// The jail of a command, and its trial.
#include "engine/llm/command_settings.h"

#include <fmt/format.h>
#include <poll.h>

#include "engine/core/json.h"
#include "engine/llm/poll_wait.h"
#include "engine/llm/scratch_folder.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;

constexpr const char* k_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

void wait_for(JailedProcess& process, std::chrono::milliseconds timeout) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  while (!process.has_ended()) {  // ends: a killed one is given up after a while
    if (std::chrono::steady_clock::now() > end) process.kill();
    std::vector<pollfd> descriptors;
    process.add_descriptors(descriptors);
    poll_wait(descriptors, std::chrono::milliseconds(20));
    process.pump();
  }
}

}  // namespace

JailedCommand jailed_command(const CommandSettings& settings, const fs::path& scratch) {
  JailedCommand command{.command = settings.command,
                        .environment = {{"PATH", k_path},
                                        {"HOME", scratch.string()},
                                        {"TMPDIR", (scratch / "tmp").string()},
                                        {"LANG", "C.UTF-8"},
                                        {"TERM", "dumb"}},
                        .scratch = scratch,
                        .readable = settings.readable,
                        .allows_network = settings.allows_network,
                        .output_bytes_max = settings.output_bytes_max};
  if (!settings.tool_program.empty()) {
    command.environment["PATH"] += ":" + settings.tool_program.parent_path().string();
    command.readable.push_back(settings.tool_program);
  }
  return command;
}

std::string command_problem(const CommandSettings& settings) {
  const fs::path outside = fs::absolute(settings.folder);
  const fs::path scratch = make_scratch(outside, "jail-check");
  write_text_atomically(outside / "outside.txt", "secret");
  JailedCommand probe = jailed_command(settings, scratch);
  probe.command = {
      "/bin/sh", "-c",
      "echo in > inside.txt || exit 3; cat ../outside.txt && exit 4; echo out > ../outside.txt && exit "
      "5; chmod 0777 ../outside.txt && exit 6; exit 0"};
  constexpr std::chrono::milliseconds k_patience{10'000};
  JailedProcess process(std::move(probe));
  wait_for(process, k_patience);
  const JailedEnd end = process.end();
  remove_scratch(scratch);
  std::error_code ignored;
  fs::remove(outside / "outside.txt", ignored);
  if (end.is_clean()) return "";
  const std::string what =
      end.jail_problem.empty() ? fmt::format("the jail leaks ({})", end.words()) : end.jail_problem;
  return fmt::format(
      "a command is run only in a jail, which cannot be had here: {}. Needed are Linux 6.2 or later with "
      "Landlock, and "
      "root or user namespaces (docs/endpoints.md)",
      what);
}

}  // namespace kernelites
