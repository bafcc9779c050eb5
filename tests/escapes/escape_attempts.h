// SPDX-License-Identifier: Apache-2.0
// How a coding agent might get out of its jail: a table of small attempts. docs/security.md tells what they are for.
//
// The folder above the scratch folder holds secret.txt; both are of the test. The jails of the worker's children have a
// table of their own (tests/unit/sandbox/jail_attempts.h).
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace kernelites::escapes {

/// Where an attempt runs.
struct Surroundings {
  std::string outside;  ///< the folder above the scratch folder
  bool has_network = true;

  std::string secret() const { return outside + "/secret.txt"; }
};

/// One attempt. `run` returns what a system call would: below 0 with errno means that it did not succeed.
struct Escape {
  std::string_view threat;  ///< a row of the table in docs/security.md
  std::string_view name;
  long (*run)(const Surroundings& around);
};

/// Those on files.
std::span<const Escape> file_escapes();
/// Those on processes, kernel interfaces, networks and devices.
std::span<const Escape> system_escapes();

/// A file that can be opened is an escape.
long open_path(const std::string& path, int flags);

}  // namespace kernelites::escapes
