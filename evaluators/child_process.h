// SPDX-License-Identifier: Apache-2.0
// A child process behind three descriptors: posix_spawn, sockets that never block, and a certain end.
//
// The child gets its own process group (a Ctrl-C in the terminal is the controller's business, not the
// worker's) and an empty signal mask. Its stderr is appended to a file. Ending it kills the whole group.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace kernelites {

class ChildProcess {
 public:
  /// Starts `command` (searched on PATH). Throws Error naming the program if it cannot be started.
  ChildProcess(const std::vector<std::string>& command, const std::filesystem::path& error_log);
  /// Kills the group with SIGKILL and reaps the child.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// Both are non-blocking sockets (write with MSG_NOSIGNAL); -1 once closed.
  int stdin_descriptor() const { return input_; }
  int stdout_descriptor() const { return output_; }
  /// The child's sign to finish what it has and end.
  void close_stdin();
  /// Closes stdin and sends SIGTERM to the group: a launcher (srun) then ends what it started elsewhere, which SIGKILL
  /// would leave running there.
  void ask_to_end();

  /// True once the child has ended; then `end` says how ("exit code 3", "signal 9").
  bool has_ended();
  /// The same, waiting for it at most `timeout`.
  bool wait_for_end(std::chrono::milliseconds timeout);
  const std::string& end() const { return end_; }

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
  std::string end_;
};

}  // namespace kernelites
