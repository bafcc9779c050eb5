// SPDX-License-Identifier: Apache-2.0
// Landlock: a thread gives up every file, TCP port, abstract socket and foreign process that it does not
// name.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace kernelites::worker {

/// What stays reachable. Paths that do not exist are skipped; folders include what is in them.
struct LandlockRules {
  std::vector<std::filesystem::path> readable;
  std::vector<std::filesystem::path> devices;  ///< read, write, ioctl
};

/// The outcome: the interface version in force, or 0 and why not.
struct LandlockOutcome {
  int abi = 0;
  std::string problem;
};

/// Restricts the calling thread and those that it starts later. REQUIRES: no_new_privs is set.
LandlockOutcome restrict_by_landlock(const LandlockRules& rules);

}  // namespace kernelites::worker
