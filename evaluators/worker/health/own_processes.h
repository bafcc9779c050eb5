// SPDX-License-Identifier: Apache-2.0
// This process and all below it, as /proc tells them.
#pragma once

#include <vector>

#include "evaluators/worker/health/process_roster.h"

namespace kernelites::worker {

/// Numbers as this namespace counts them; empty where there is no /proc. Children whose command line has a word
/// "executor" or "referee" may hold a context.
std::vector<OwnProcess> own_processes();

}  // namespace kernelites::worker
