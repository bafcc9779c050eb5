// SPDX-License-Identifier: Apache-2.0
// Landlock: a thread gives up every file, TCP port, abstract socket and foreign process that it does not
// name.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace kernelites {

/// What stays reachable. Paths that do not exist are skipped; folders include what is in them.
struct LandlockRules {
  std::vector<std::filesystem::path> readable;
  std::vector<std::filesystem::path> devices;     ///< read, write, ioctl
  std::vector<std::filesystem::path> executable;  ///< read and execute
  std::vector<std::filesystem::path> writable;    ///< read, write, make, remove, execute; no device files
  bool allows_tcp = false;                        ///< any port; else none
};

/// The outcome: the interface version in force, or 0 and why not.
struct LandlockOutcome {
  int abi = 0;
  std::string problem;
};

/// Restricts the calling thread and those that it starts later. REQUIRES: no_new_privs is set.
LandlockOutcome restrict_by_landlock(const LandlockRules& rules);

/// The same in two steps, for a process between fork and exec, which may not allocate: rules are made before...
struct LandlockRuleset {
  int descriptor = -1;  ///< owned by the caller; -1: see the outcome
  LandlockOutcome outcome;
};
LandlockRuleset make_landlock_ruleset(const LandlockRules& rules);
/// ...one more readable and executable folder may be added, and the rules put in force after. 0, or an errno.
int add_landlock_folder(int descriptor, const char* folder);
int enforce_landlock(int descriptor);

}  // namespace kernelites
