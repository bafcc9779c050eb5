// SPDX-License-Identifier: Apache-2.0
// A foreign program (a coding agent) in a jail: one folder to write to, no files but the system's, a certain end.
//
// The program runs below a process of ours that is the first of a PID namespace: when that one ends, the kernel kills
// all that is left, so that no fork, daemon or new session outlives the call; it also dies with this program. Shared
// memory and queues are of an IPC namespace of its own, and end with it. A mount namespace makes the whole file system
// read-only but the scratch folder (also modes, owners and times, which Landlock does not know). Landlock hides every
// file that is not named, seccomp and dropped capabilities take kernel interfaces away, and the environment is what the
// caller says. Layers that cannot be had are not done without: the start fails. Needs Linux 6.2 (Landlock ABI 3), and
// root or user namespaces.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

struct pollfd;

namespace kernelites {

struct JailedCommand {
  std::vector<std::string> command;                ///< the program is searched on `environment`'s PATH
  std::map<std::string, std::string> environment;  ///< all of it
  std::filesystem::path scratch;  ///< working directory, and the only folder that can be written
  std::vector<std::filesystem::path> readable;  ///< besides the system's folders; also executable
  bool allows_network = true;
  std::string input;                                 ///< on stdin, which then ends
  bool keeps_input = false;                          ///< it does not end: more comes by `send`
  std::uint64_t output_bytes_max = 8 * 1024 * 1024;  ///< of stdout; stderr has a tail of `k_error_bytes`
  std::uint64_t file_bytes_max = 256 * 1024 * 1024;  ///< largest single file
};

/// How it ended. Exactly one of the three is set, or none for exit code 0.
struct JailedEnd {
  int exit_code = 0;
  int signal = 0;
  std::string jail_problem;  ///< the program was never started: which layer was refused
  bool is_clean() const { return exit_code == 0 && signal == 0 && jail_problem.empty(); }
  std::string words() const;  ///< "exit code 3", "signal 9"
};

class JailedProcess {
 public:
  /// Starts the program. What goes wrong after that, also with the jail, is its end. Throws Error if there are no
  /// descriptors, processes or filters to be had.
  explicit JailedProcess(JailedCommand command);
  /// Kills what is left and waits until nothing is.
  ~JailedProcess();
  JailedProcess(const JailedProcess&) = delete;
  JailedProcess& operator=(const JailedProcess&) = delete;

  /// Adds what it waits for.
  void add_descriptors(std::vector<pollfd>& descriptors) const;
  /// Moves bytes, never blocks.
  void pump();
  /// More input for a program that keeps its own; moved by `pump`. One that has ended does not get it.
  void send(std::string_view bytes);
  /// Takes what it wrote so far; the limit counts anew.
  std::string take_output();
  /// Kills all of it and returns at once; `has_ended` is true after one of the next pumps.
  void kill();
  /// True once nothing of it is left.
  bool has_ended() const { return has_ended_; }
  /// REQUIRES: has_ended().
  const JailedEnd& end() const { return end_; }

  const std::string& output() const { return output_; }
  bool has_flooded() const { return has_flooded_; }  ///< it wrote more than it may, and was killed
  /// The last of its stderr.
  const std::string& errors() const { return errors_; }

 private:
  void write_input();
  void read_output();
  void read_errors();
  void reap();

  JailedCommand command_;
  pid_t pid_ = -1;  ///< of the namespace's first process
  int input_ = -1, output_pipe_ = -1, error_pipe_ = -1, status_pipe_ = -1;
  std::size_t written_ = 0;
  std::string output_;
  std::string errors_;
  bool has_flooded_ = false;
  bool is_killed_ = false;
  std::chrono::steady_clock::time_point give_up_;  ///< of a killed one that does not end
  bool has_ended_ = false;
  JailedEnd end_;
};

}  // namespace kernelites
