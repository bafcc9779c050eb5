// SPDX-License-Identifier: Apache-2.0
// A run and its knowledge file: read once when the run begins, joined when it ends.
#pragma once

#include <cstddef>
#include <filesystem>

#include "archive/archive.h"
#include "engine/core/task.h"
#include "engine/search/run_config.h"

namespace kernelites {

/// Records what `file` holds as what the run knows, if the run has not begun yet: a resumed run keeps what it began
/// with. A file that does not exist holds nothing. Returns the number of effects. Throws ConfigError, and changes
/// nothing, if the file is no knowledge file.
std::size_t import_knowledge(Archive& archive, const std::filesystem::path& file);

/// The effects of everything that the run has told, as another run would import them.
EffectSet run_effects(const Archive& archive, const Task& task, double effect_min);

/// Joins the run's effects into `file`, which is made if need be. Any number of times: an effect is there once. Returns
/// how many were new.
std::size_t export_knowledge(const Archive& archive, const Task& task, double effect_min,
                             const std::filesystem::path& file);

}  // namespace kernelites
