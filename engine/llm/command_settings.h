// SPDX-License-Identifier: Apache-2.0
// What a command endpoint is told: the program, what it may reach, and how its output is read.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/jail/jailed_process.h"

namespace kernelites {

/// JSON pointers into the program's stdout; without `text` all of stdout is the answer.
struct CommandReplyFields {
  std::string text, model, usd, input_tokens, output_tokens;
};

struct CommandSettings {
  std::vector<std::string> command;
  std::vector<std::string> environment;  ///< NAMES of secrets that it is given
  std::vector<std::filesystem::path>
      readable;  ///< besides the system's folders: where the program is installed
  CommandReplyFields reply;
  std::string model = "command";
  bool allows_network = true;
  std::filesystem::path folder;        ///< where working directories are made
  std::filesystem::path tool_program;  ///< the kernelites program, which it calls tools with; empty: no tools
  std::chrono::milliseconds total{3'600'000};
  std::uint64_t output_bytes_max = 8 * 1024 * 1024;
  std::uint64_t scratch_bytes_max = 1024ull * 1024 * 1024;
  double usd_max = 0;  ///< what one run of it can cost at most, as far as the user knows
  std::size_t in_flight_max = 2;
};

/// The command in its jail, without secrets and input.
JailedCommand jailed_command(const CommandSettings& settings, const std::filesystem::path& scratch);

/// Why commands cannot be jailed here, or "": starts a small program in the jail that tries to read and write outside.
std::string command_problem(const CommandSettings& settings);

}  // namespace kernelites
