// SPDX-License-Identifier: Apache-2.0
// What `run` records around its loop: seeds that were left out, and an end in trouble.
#pragma once

#include <vector>

#include "engine/search/loop.h"
#include "engine/search/run_folder.h"
#include "tools/data_root.h"

namespace kernelites {

/// The run. A new one first names in its archive the task's seeds that it does not begin with: nobody times them here,
/// and views say so. What it throws it has said in the archive, as far as that could still be written, and where no
/// seed passes it names the command that tells why.
LoopEnd run_to_its_end(RunParts& parts, const RunFolder& folder, const DataRoot& data);

}  // namespace kernelites
