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
  std::string outside;  ///< the folder above the scratch folder; a daemon listens there, too
  bool has_network = true;
  int first = 1;   ///< a process that is none of the agent's, by the number that it has in here
  int victim = 0;  ///< one outside, which leads a session of its own, by the number that it has there

  std::string secret() const { return outside + "/secret.txt"; }
  std::string daemon() const { return outside + "/daemon.socket"; }
  /// Of the same daemon, in the namespace without files.
  std::string abstract_daemon() const { return "kernelites " + outside; }
};

/// What an attempt returns that means nothing here: network where it is allowed.
inline constexpr long k_not_asked = -2;

/// One attempt. `run` returns what a system call would: below 0 with errno means that it did not succeed.
struct Escape {
  std::string_view threat;  ///< a row of the table in docs/security.md
  std::string_view name;
  long (*run)(const Surroundings& around);
  /// Why nothing shows that it would succeed without the jail; empty: the control does.
  std::string_view unproven = {};
};

/// Those on files.
std::span<const Escape> file_escapes();
/// Those on processes, kernel interfaces, networks and devices.
std::span<const Escape> system_escapes();

/// Makes every attempt as root without the jail, in namespaces that keep it from the machine, and prints a line each:
/// "succeeds NAME" or "fails NAME: why". Rows that are unproven are left out.
void make_control(const Surroundings& around);
/// Makes one attempt in a process of its own, where `prepare` runs first. Empty: it succeeded; k_left_out: it means
/// nothing here; else why it did not.
std::string outcome_of(const Escape& escape, const Surroundings& around, bool (*prepare)() = nullptr);
inline constexpr std::string_view k_left_out = "left out";

/// A file that can be opened is an escape.
long open_path(const std::string& path, int flags);

}  // namespace kernelites::escapes
