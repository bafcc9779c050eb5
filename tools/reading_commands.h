// SPDX-License-Identifier: Apache-2.0
// Commands that look at what is there: candidates of a run, its database, a profile of somebody's model.
#pragma once

#include "tools/command_line.h"

namespace kernelites {

void add_diff_command(CLI::App& command, Program& program);
void add_explain_command(CLI::App& command, Program& program);
void add_rank_command(CLI::App& command, Program& program);
void add_archive_command(CLI::App& command, Program& program);

}  // namespace kernelites
