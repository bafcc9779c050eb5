// SPDX-License-Identifier: Apache-2.0
// The command line as a function: arguments in, text and an exit code out.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

namespace kernelites {

/// Exit codes, a stable part of the command line.
enum ExitCode : int {
  exit_done = 0,    ///< for `evaluate`: passed
  exit_failed = 1,  ///< the candidate failed
  exit_wrong = 2,   ///< wrong input or configuration; nothing was changed
  exit_trouble = 3  ///< the run or the machine is in trouble
};

/// What commands print to and find themselves by.
struct Program {
  std::ostream& out;
  std::ostream& err;
  std::filesystem::path executable;  ///< where data folders and the worker are looked for
  bool is_terminal = false;          ///< `out` is one
  bool has_color = false;
  int exit_code = exit_done;  ///< set by the command
};

/// One row of the table of commands: `add` registers options and callback on a subcommand of this name.
struct CommandRow {
  const char* name;
  const char* purpose;
  void (*add)(CLI::App& command, Program& program);
};

void add_run_command(CLI::App& command, Program& program);
void add_elites_command(CLI::App& command, Program& program);
void add_show_command(CLI::App& command, Program& program);
void add_evaluate_command(CLI::App& command, Program& program);
void add_bench_command(CLI::App& command, Program& program);
void add_resolution_command(CLI::App& command, Program& program);
void add_profile_command(CLI::App& command, Program& program);
void add_tune_command(CLI::App& command, Program& program);
void add_tasks_command(CLI::App& command, Program& program);
void add_new_task_command(CLI::App& command, Program& program);
void add_adopt_command(CLI::App& command, Program& program);
void add_calibrate_command(CLI::App& command, Program& program);
void add_judge_command(CLI::App& command, Program& program);
void add_status_command(CLI::App& command, Program& program);
void add_compare_command(CLI::App& command, Program& program);
void add_knowledge_command(CLI::App& command, Program& program);
void add_lineage_command(CLI::App& command, Program& program);
void add_log_command(CLI::App& command, Program& program);
void add_report_command(CLI::App& command, Program& program);
void add_prompt_command(CLI::App& command, Program& program);
void add_agent_tools_command(CLI::App& command, Program& program);
void add_dump_command(CLI::App& command, Program& program);
void add_dataset_command(CLI::App& command, Program& program);
void add_env_command(CLI::App& command, Program& program);
void add_doctor_command(CLI::App& command, Program& program);

/// Runs one command line (without the program's name). Wrong input becomes one sentence on `err`.
int run_program(const std::vector<std::string>& arguments, Program& program);

}  // namespace kernelites
