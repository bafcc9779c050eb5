// SPDX-License-Identifier: Apache-2.0
// Killable child processes: this program, executed again in a role (compile, referee, executor), joined by a
// channel.
//
// A child is a fresh exec, never a bare fork: CUDA cannot be used after fork, and the supervisor's secrets
// must not be in its address space. It starts with an empty environment, its own session, no descriptor but
// stderr and the channel (its stdout is stderr: nothing that a child prints can reach the protocol), and dies
// with its parent.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "evaluators/worker/sandbox/channel.h"

namespace kernelites::worker {

/// Resource limits of a child, set before its first instruction. Core dumps are always off.
struct ChildLimits {
  std::uint64_t address_space_bytes = 0;  ///< 0: unlimited (a CUDA context reserves terabytes)
  std::uint64_t cpu_s = 0;                ///< processor seconds, then SIGXCPU; 0: unlimited
  std::uint64_t file_bytes = 0;           ///< largest file that it may write; memory files count
  std::uint64_t open_files = 256;
};

/// How a child ended.
struct ChildEnd {
  int exit_code = -1;  ///< -1: a signal ended it
  int signal = 0;      ///< 0: it exited
  std::string words;   ///< "exit 3", "killed by signal 9 (Killed)"
  bool is_clean() const { return exit_code == 0; }
};

/// One running child. The destructor kills and reaps it: no zombies, no orphans.
class Child {
 public:
  /// Starts `executable --child role`. May be called from any thread; the child outlives that thread.
  /// Throws Error if the system refuses or `executable` cannot be run.
  static Child start(const std::string& role, const ChildLimits& limits,
                     const std::filesystem::path& executable = "/proc/self/exe");
  /// The same under a tool that runs programs (`compute-sanitizer --tool memcheck`): `tool` is its command, to which
  /// this program, `--child` and the role are appended. The tool must leave open descriptors alone.
  static Child start_under(const std::vector<std::string>& tool, const std::string& role,
                           const ChildLimits& limits);
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();

  Channel& channel() { return channel_; }
  pid_t pid() const { return pid_; }
  const std::string& role() const { return role_; }

  /// SIGKILL to the child and everything in its process group. Harmless if it has ended.
  void kill();
  /// Waits at most `deadline_s` seconds for the end. Empty: still running. May be repeated.
  std::optional<ChildEnd> wait(double deadline_s);

 private:
  static Child start_program(const std::string& role, const ChildLimits& limits,
                             const std::filesystem::path& executable,
                             const std::vector<std::string>& arguments);
  Child(std::string role, pid_t pid, FileDescriptor process, FileDescriptor lifeline, FileDescriptor socket);
  void finish();
  ChildEnd reap();

  std::string role_;
  pid_t pid_ = -1;
  FileDescriptor process_;   ///< pidfd: readable when the child has ended; empty on old kernels
  FileDescriptor lifeline_;  ///< never written: its closing, by our death too, kills the child
  Channel channel_;
  std::optional<ChildEnd> end_;
};

/// What a child does in a role. Returns the exit code. Exceptions are printed on stderr and become exit
/// code 3.
struct ChildRole {
  std::string_view name;
  int (*run)(Channel& channel);
};

/// First statement of `main`: returns if this process was not started by `Child::start`; otherwise runs the
/// role and ends the process with its code, without static destructors (a driver's could hang).
void run_child_role(int argc, char** argv, std::span<const ChildRole> roles) noexcept;

/// Exit code of a child whose role is none of those given.
inline constexpr int k_exit_unknown_role = 120;

}  // namespace kernelites::worker
