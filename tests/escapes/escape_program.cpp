// SPDX-License-Identifier: Apache-2.0
// The prisoner: makes every attempt of the table in a process of its own, and says what became of it.
//
//   escape_program attempts OUTSIDE network|closed      one line each: "contained NAME: why" or "ESCAPED NAME"
//   escape_program leave MARK                           processes in sessions of their own that sleep MARK s
//   escape_program segment                              leaves a shared segment and a queue behind
//   escape_program bomb                                 forks until it cannot any more, and never ends
#include <fcntl.h>
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "tests/escapes/escape_attempts.h"

using namespace kernelites::escapes;

namespace {

constexpr int k_escaped = 255;

/// errno of the attempt, or k_escaped.
int attempt(const Escape& escape, const Surroundings& around) {
  alarm(5);
  errno = 0;
  if (escape.run(around) >= 0) return k_escaped;
  return errno == 0 || errno >= k_escaped ? EPERM : errno;
}

void make_attempts(const Surroundings& around) {
  for (const auto& table : {file_escapes(), system_escapes()}) {
    for (const Escape& escape : table) {
      std::fflush(stdout);
      const pid_t child = ::fork();
      if (child == 0) ::_exit(attempt(escape, around));
      int status = 0;
      ::waitpid(child, &status, 0);
      const std::string name(escape.name);
      if (WIFSIGNALED(status))
        std::printf("contained %s: killed by signal %d\n", name.c_str(), WTERMSIG(status));
      else if (WEXITSTATUS(status) == k_escaped)
        std::printf("ESCAPED %s\n", name.c_str());
      else
        std::printf("contained %s: %s\n", name.c_str(), std::strerror(WEXITSTATUS(status)));
    }
  }
  std::printf("over\n");
}

void leave_processes(const char* mark) {
  for (int i = 0; i < 20; ++i) {
    if (::fork() != 0) continue;
    ::setsid();
    if (::fork() == 0) ::execl("/bin/sleep", "sleep", mark, nullptr);
    ::execl("/bin/sleep", "sleep", mark, nullptr);
  }
  std::printf("left\n");
}

void leave_segment() {
  const int segment = ::shmget(0x6b656c69, 4096, IPC_CREAT | 0600);
  const mqd_t queue = ::mq_open("/kernelites-escape", O_CREAT | O_RDWR, 0600, nullptr);
  std::printf("%s\n", segment >= 0 || queue >= 0 ? "left" : "refused");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "attempts" && argc == 4) {
    make_attempts({.outside = argv[2], .has_network = std::string(argv[3]) == "network"});
  } else if (mode == "leave" && argc == 3) {
    leave_processes(argv[2]);
  } else if (mode == "segment") {
    leave_segment();
  } else if (mode == "bomb") {
    for (;;) ::fork();
  } else {
    return 2;
  }
}
