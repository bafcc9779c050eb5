// SPDX-License-Identifier: Apache-2.0
// The prisoner: makes every attempt of the table in a process of its own, and says what became of it.
//
//   escape_program attempts OUTSIDE network|closed VICTIM   "contained NAME: why", "ESCAPED NAME" or "left out NAME"
//   escape_program control OUTSIDE                      the same without the jail: "succeeds NAME", "fails NAME: why"
//   escape_program leave MARK                           processes in sessions of their own that sleep MARK s
//   escape_program segment                              leaves a shared segment and a queue behind
//   escape_program bomb                                 forks until it cannot any more, and never ends
//   escape_program threads                              the same with threads, and says how many there were
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/escapes/escape_attempts.h"

using namespace kernelites::escapes;

namespace {

void make_attempts(const Surroundings& around) {
  for (const auto& table : {file_escapes(), system_escapes()}) {
    for (const Escape& escape : table) {
      const std::string name(escape.name), outcome = outcome_of(escape, around);
      if (outcome.empty())
        std::printf("ESCAPED %s\n", name.c_str());
      else if (outcome == k_left_out)
        std::printf("left out %s\n", name.c_str());
      else
        std::printf("contained %s: %s\n", name.c_str(), outcome.c_str());
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

int sleep_for_ever(void* /*nothing*/) {
  for (;;) ::pause();
}

/// Threads with next to no stack, so that memory is not what ends it.
void make_threads() {
  constexpr std::size_t k_stack = 16384;
  constexpr int k_thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  for (int count = 0;; ++count) {
    char* const stack = static_cast<char*>(std::malloc(k_stack));
    if (stack == nullptr || ::clone(sleep_for_ever, stack + k_stack, k_thread, nullptr) < 0) {
      std::printf("%d threads\n", count);
      return;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "attempts" && argc == 5) {
    make_attempts(
        {.outside = argv[2], .has_network = std::string(argv[3]) == "network", .victim = std::atoi(argv[4])});
  } else if (mode == "control" && argc == 3) {
    make_control({.outside = argv[2], .has_network = false});
  } else if (mode == "leave" && argc == 3) {
    leave_processes(argv[2]);
  } else if (mode == "segment") {
    leave_segment();
  } else if (mode == "threads") {
    make_threads();
  } else if (mode == "bomb") {
    for (;;) ::fork();
  } else {
    return 2;
  }
}
