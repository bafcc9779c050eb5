// SPDX-License-Identifier: Apache-2.0
// The archive of a run that begins.
#pragma once

#include <string>

#include "archive/archive.h"
#include "engine/search/run_config.h"
#include "engine/search/run_folder.h"

namespace kernelites {

/// Records the run in its folder. One that forks the run in folder `fork` (empty: none) has that one's replies as a
/// recording, which is there before the archive is: a run that can be resumed has its recording.
Archive begin_run(RunConfig config, const Task& task, const RunFolder& folder, const std::string& fork,
                  const Key& model_key);

}  // namespace kernelites
