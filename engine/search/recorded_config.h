// SPDX-License-Identifier: Apache-2.0
// The configuration that a run recorded, which may name what has left since.
#pragma once

#include <string>

#include "engine/search/run_config.h"

namespace kernelites {

/// Reads what a run recorded, perhaps with an older program: shares of operators that are no more are `refine`'s.
/// Throws ConfigError like parse_run_config, which is for what a user says and refuses them.
RunConfig recorded_run_config(Json recorded, const std::string& where);

}  // namespace kernelites
