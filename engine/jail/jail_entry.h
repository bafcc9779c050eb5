// SPDX-License-Identifier: Apache-2.0
// What runs between fork and exec of a jailed program. Nothing in here allocates or takes a lock.
#pragma once

#include <sys/types.h>

#include <vector>

#include "engine/jail/command_filter.h"

namespace kernelites {

/// Everything that the new processes need, made before.
struct JailEntry {
  char* const* argv = nullptr;
  char* const* envp = nullptr;
  const char* program = nullptr;  ///< absolute
  const char* scratch = nullptr;  ///< absolute
  const std::vector<FilterInstruction>* filter = nullptr;
  int ruleset = -1;
  int input = -1, output = -1, errors = -1;  ///< the program's ends
  int status = -1;                           ///< where a JailStatus is written
  unsigned long long file_bytes_max = 0;
  unsigned uid = 0, gid = 0;
};

/// The end as the namespace's first process reports it.
struct JailStatus {
  int step = 0;   ///< 0: `value` is a wait status; else an index of `jail_step_name`
  int value = 0;  ///< an errno
};

/// "" for an index that is none.
const char* jail_step_name(int step);

/// Forks into new namespaces and runs the program there. The parent gets the first process's id, or -1 and errno.
pid_t start_in_jail(const JailEntry& entry, bool with_user_namespace);

}  // namespace kernelites
