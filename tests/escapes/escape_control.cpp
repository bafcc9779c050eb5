// SPDX-License-Identifier: Apache-2.0
// One attempt in a process of its own; and all of them without a jail, where each must succeed that proves anything.
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/escapes/escape_attempts.h"

namespace kernelites::escapes {
namespace {

namespace fs = std::filesystem;

constexpr int k_succeeded = 255, k_was_left_out = 254;
constexpr unsigned k_attempt_s_max = 5;

int attempt(const Escape& escape, const Surroundings& around) {
  ::alarm(k_attempt_s_max);
  errno = 0;
  const long result = escape.run(around);
  if (result == k_not_asked) return k_was_left_out;
  if (result >= 0) return k_succeeded;
  return errno == 0 || errno >= k_was_left_out ? EPERM : errno;
}

/// Folders that attempts write to: what they write there is gone with the namespace.
bool hide_folders() {
  const passwd* const user = ::getpwuid(::getuid());
  const std::string home = user != nullptr && std::string(user->pw_dir) != "/" ? user->pw_dir : "/root";
  for (const std::string& folder :
       {std::string("/etc"), std::string("/usr/lib"), std::string("/var/tmp"), std::string("/dev/shm"), home})
    if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, nullptr) != 0) return false;
  for (const std::string& file : {std::string("/etc/shadow"), home + "/notes.txt"})
    std::ofstream(file) << "x";
  std::ofstream("/etc/passwd") << "root:x:0:0:root:" << home << ":/bin/sh\n";
  return ::mount("proc", "/proc", "proc", 0, nullptr) == 0;
}

/// The secret and the scratch folder as they were before the first attempt.
void tidy(const Surroundings& around) {
  for (const auto& entry : fs::directory_iterator(around.outside))
    if (entry.path().filename() != "scratch" && entry.path() != around.daemon()) fs::remove_all(entry.path());
  for (const auto& entry : fs::directory_iterator(around.outside + "/scratch")) fs::remove_all(entry.path());
  std::ofstream(around.secret()) << "the run's secret";
  ::chmod(around.secret().c_str(), 0600);
  ::unlink("/tmp/kernelites-escape");
}

bool leave_mounts_and_name() { return ::unshare(CLONE_NEWNS | CLONE_NEWUTS) == 0; }

/// The first process of the namespaces.
[[noreturn]] void make_attempts_outside(Surroundings around) {
  if (::chdir((around.outside + "/scratch").c_str()) != 0 || !hide_folders()) {
    std::printf("no control: %s\n", std::strerror(errno));
    std::fflush(stdout);
    ::_exit(1);
  }
  around.victim = ::fork();
  if (around.victim == 0) {
    ::setsid();
    for (;;) ::pause();
  }
  around.first = around.victim;
  for (const auto& table : {file_escapes(), system_escapes()}) {
    for (const Escape& escape : table) {
      if (!escape.unproven.empty()) continue;
      tidy(around);
      const std::string name(escape.name), outcome = outcome_of(escape, around, leave_mounts_and_name);
      if (outcome.empty())
        std::printf("succeeds %s\n", name.c_str());
      else
        std::printf("fails %s: %s\n", name.c_str(), outcome.c_str());
    }
  }
  tidy(around);
  std::printf("over\n");
  std::fflush(stdout);
  ::_exit(0);
}

}  // namespace

std::string outcome_of(const Escape& escape, const Surroundings& around, bool (*prepare)()) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(prepare == nullptr || prepare() ? attempt(escape, around) : errno);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return "killed by signal " + std::to_string(WTERMSIG(status));
  if (WEXITSTATUS(status) == k_succeeded) return "";
  if (WEXITSTATUS(status) == k_was_left_out) return std::string(k_left_out);
  return std::strerror(WEXITSTATUS(status));
}

void make_control(const Surroundings& around) {
  if (::unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    std::printf("no control: %s\n", std::strerror(errno));
    return;
  }
  const pid_t first = ::fork();
  if (first == 0) make_attempts_outside(around);
  ::waitpid(first, nullptr, 0);
}

}  // namespace kernelites::escapes
