// SPDX-License-Identifier: Apache-2.0
// The beginning and the end of a run that is given a knowledge file.
#pragma once

#include "archive/archive.h"
#include "engine/core/task.h"
#include "engine/search/run_config.h"
#include "tools/command_line.h"

namespace kernelites {

/// Makes the file's path absolute, since a run may go on from another folder, and gives a new run a share of
/// minimisations unless its operators name them: what a file learns should be what a gain is due to. Nothing without a
/// file. Throws ConfigError if there is one that is no knowledge file.
void use_knowledge(RunConfig& config, bool is_new);

/// Joins the run's effects into `config.knowledge` and says how many were new.
void export_lessons(const Archive& archive, const Task& task, const RunConfig& config, bool is_json,
                    Program& program);

}  // namespace kernelites
