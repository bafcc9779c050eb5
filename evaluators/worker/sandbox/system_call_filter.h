// SPDX-License-Identifier: Apache-2.0
// The seccomp filter of a jail: which system calls are allowed, which kill, and what the others answer.
#pragma once

#include <string>

#include "evaluators/worker/sandbox/jail.h"

namespace kernelites::worker {

/// Loads the filter into all threads of this process; there is no way back. Empty: in force; otherwise why it
/// is not. REQUIRES: no_new_privs is set.
std::string load_system_call_filter(const JailPolicy& policy);

}  // namespace kernelites::worker
