// SPDX-License-Identifier: Apache-2.0
// A child process behind three descriptors: posix_spawn, sockets that never block, and a certain end.
#include "evaluators/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "engine/core/error.h"

extern char** environ;

namespace kernelites {
namespace {

/// Throws Error if a call that returns an error number failed.
void check(int code, const char* call) {
  if (code != 0) throw Error(fmt::format("{}: {}", call, std::strerror(code)));
}

/// Both ends close on exec; the parent's end (0) does not block. A socket instead of a pipe, since writing to
/// a dead reader of a pipe raises SIGPIPE, which only a whole program may ignore.
struct Channel {
  int ends[2] = {-1, -1};
  Channel() {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) check(errno, "socketpair");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
  }
  ~Channel() {
    for (int end : ends)
      if (end >= 0) close(end);
  }
  int release(int end) { return std::exchange(ends[end], -1); }
};

struct SpawnSettings {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnSettings() {
    check(posix_spawn_file_actions_init(&actions), "posix_spawn_file_actions_init");
    check(posix_spawnattr_init(&attributes), "posix_spawnattr_init");
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& command, const std::filesystem::path& error_log) {
  KERNELITES_ASSERT(!command.empty());
  Channel input;
  Channel output;
  SpawnSettings settings;
  check(posix_spawn_file_actions_adddup2(&settings.actions, input.ends[1], 0),
        "posix_spawn_file_actions_adddup2");
  check(posix_spawn_file_actions_adddup2(&settings.actions, output.ends[1], 1),
        "posix_spawn_file_actions_adddup2");
  check(posix_spawn_file_actions_addopen(&settings.actions, 2, error_log.c_str(),
                                         O_WRONLY | O_CREAT | O_APPEND, 0644),
        "posix_spawn_file_actions_addopen");
  sigset_t none;
  sigset_t defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  check(posix_spawnattr_setsigmask(&settings.attributes, &none), "posix_spawnattr_setsigmask");
  check(posix_spawnattr_setsigdefault(&settings.attributes, &defaults), "posix_spawnattr_setsigdefault");
  check(posix_spawnattr_setpgroup(&settings.attributes, 0), "posix_spawnattr_setpgroup");
  check(posix_spawnattr_setflags(&settings.attributes,
                                 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP),
        "posix_spawnattr_setflags");

  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const int code =
      posix_spawnp(&pid_, arguments[0], &settings.actions, &settings.attributes, arguments.data(), environ);
  if (code != 0) throw Error(fmt::format("cannot start {}: {}", command[0], std::strerror(code)));
  input_ = input.release(0);
  output_ = output.release(0);
}

ChildProcess::~ChildProcess() {
  close_stdin();
  if (output_ >= 0) close(output_);
  if (!end_.empty()) return;
  kill(-pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void ChildProcess::close_stdin() {
  if (input_ >= 0) close(std::exchange(input_, -1));
}

void ChildProcess::ask_to_end() {
  close_stdin();
  if (end_.empty()) kill(-pid_, SIGTERM);
}

bool ChildProcess::wait_for_end(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!has_ended() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return has_ended();
}

bool ChildProcess::has_ended() {
  if (!end_.empty()) return true;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return false;
  end_ = WIFEXITED(status) ? fmt::format("exit code {}", WEXITSTATUS(status))
                           : fmt::format("signal {}", WTERMSIG(status));
  // Children that the worker left behind must not live on with its device.
  kill(-pid_, SIGKILL);
  return true;
}

}  // namespace kernelites
