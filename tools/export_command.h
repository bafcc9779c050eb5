// SPDX-License-Identifier: Apache-2.0
// kernelites export, for the table of commands.
#pragma once

#include "tools/command_line.h"

namespace kernelites {

void add_export_command(CLI::App& command, Program& program);

}  // namespace kernelites
