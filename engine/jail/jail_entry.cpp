// SPDX-License-Identifier: Apache-2.0
// The layers of a command's jail, in order; each has a name for the case that it is refused.
#include "engine/jail/jail_entry.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "engine/jail/landlock.h"

namespace kernelites {
namespace {

enum Step : int {
  k_status = 0,
  k_identity,
  k_mounts,
  k_fork,
  k_limits,
  k_privileges,
  k_landlock,
  k_filter,
  k_folder,
  k_program
};

constexpr const char* k_step_names[] = {
    "",         "user namespace", "read-only file system", "fork",   "resource limits", "privileges",
    "landlock", "seccomp",        "scratch folder",        "program"};

/// Processes and threads of one jail beyond which all of it ends: a fork bomb would take the machine with it.
constexpr int k_processes_max = 1024, k_threads_max = 4096;
/// How often the first process counts.
constexpr timespec k_count_interval{.tv_sec = 0, .tv_nsec = 100'000'000};

/// The system call itself: the C library's fork takes locks, which another thread may hold.
pid_t raw_fork(unsigned long flags) {
  return static_cast<pid_t>(::syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
}

void report(const JailEntry& entry, int step, int value) {
  const JailStatus status{.step = step, .value = value};
  [[maybe_unused]] const ssize_t written = ::write(entry.status, &status, sizeof status);
}

[[noreturn]] void give_up(const JailEntry& entry, int step, int problem) {
  report(entry, step, problem);
  ::_exit(127);
}

bool write_file(const char* path, const char* text) {
  const int file = ::open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const auto bytes = static_cast<ssize_t>(std::strlen(text));
  const bool is_written = ::write(file, text, static_cast<std::size_t>(bytes)) == bytes;
  ::close(file);
  return is_written;
}

/// Closes all but what is needed: another program's pipe that stays open here would never end there.
void close_others(const JailEntry& entry) {
  std::array<int, 5> kept = {entry.input, entry.output, entry.errors, entry.status, entry.ruleset};
  std::sort(kept.begin(), kept.end());
  unsigned next = 3;
  for (const int descriptor : kept) {
    const auto number = static_cast<unsigned>(descriptor);
    if (number > next) ::syscall(SYS_close_range, next, number - 1, 0U);
    next = std::max(next, number + 1);
  }
  ::syscall(SYS_close_range, next, ~0U, 0U);
}

/// The same user and group inside as outside.
void take_identity(const JailEntry& entry) {
  std::array<char, 64> line{};
  std::snprintf(line.data(), line.size(), "%u %u 1\n", entry.uid, entry.uid);
  if (!write_file("/proc/self/uid_map", line.data())) give_up(entry, k_identity, errno);
  write_file("/proc/self/setgroups", "deny");  // needed before the next, absent on old kernels
  std::snprintf(line.data(), line.size(), "%u %u 1\n", entry.gid, entry.gid);
  if (!write_file("/proc/self/gid_map", line.data())) give_up(entry, k_identity, errno);
}

/// Everything read-only but the scratch folder; /proc shows this namespace only. False: there is no such /proc.
bool arrange_mounts(const JailEntry& entry) {
  mount_attr read_only{};
  read_only.attr_set = MOUNT_ATTR_RDONLY;
  mount_attr writable{};
  writable.attr_clr = MOUNT_ATTR_RDONLY;
  writable.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount(entry.scratch, entry.scratch, nullptr, MS_BIND, nullptr) != 0 ||
      ::mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &read_only, sizeof read_only) != 0 ||
      ::mount_setattr(AT_FDCWD, entry.scratch, 0, &writable, sizeof writable) != 0)
    give_up(entry, k_mounts, errno);
  // A container may forbid a fresh /proc. The program then sees none, and most do without.
  if (::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) return false;
  add_landlock_folder(entry.ruleset, "/proc");
  return true;
}

void limit_resources(const JailEntry& entry, bool with_user_namespace) {
  const rlimit none{0, 0}, files{1024, 1024}, size{entry.file_bytes_max, entry.file_bytes_max};
  if (::setrlimit(RLIMIT_CORE, &none) != 0 || ::setrlimit(RLIMIT_NOFILE, &files) != 0 ||
      ::setrlimit(RLIMIT_FSIZE, &size) != 0)
    give_up(entry, k_limits, errno);
  // In a user namespace of its own a user's processes and threads are counted by themselves; root's are not limited so.
  rlimit tasks{};
  if (with_user_namespace && ::getrlimit(RLIMIT_NPROC, &tasks) == 0) {
    tasks.rlim_max = std::min<rlim_t>(tasks.rlim_max, k_threads_max);
    tasks.rlim_cur = std::min(tasks.rlim_cur, tasks.rlim_max);
    if (::setrlimit(RLIMIT_NPROC, &tasks) != 0) give_up(entry, k_limits, errno);
  }
}

void drop_privileges(const JailEntry& entry) {
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
    ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);  // refused without privileges, which then need no dropping
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> nothing{};
  if (::syscall(SYS_capset, &header, nothing.data()) != 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    give_up(entry, k_privileges, errno);
}

[[noreturn]] void become_program(const JailEntry& entry, bool with_user_namespace) {
  ::setsid();
  sigset_t nothing;
  sigemptyset(&nothing);
  sigprocmask(SIG_SETMASK, &nothing, nullptr);
  for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGCHLD}) ::signal(number, SIG_DFL);
  ::dup2(entry.input, 0);
  ::dup2(entry.output, 1);
  ::dup2(entry.errors, 2);
  if (::chdir(entry.scratch) != 0) give_up(entry, k_folder, errno);
  limit_resources(entry, with_user_namespace);
  drop_privileges(entry);
  if (const int problem = enforce_landlock(entry.ruleset); problem != 0) give_up(entry, k_landlock, problem);
  if (const int problem = enforce_command_filter(*entry.filter); problem != 0)
    give_up(entry, k_filter, problem);
  // All but the three close on exec; the status pipe must stay until then.
  ::syscall(SYS_close_range, 3U, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */);
  ::execve(entry.program, entry.argv, entry.envp);
  give_up(entry, k_program, errno);
}

/// Of one process, by the links to its folder of threads: one each, besides the two of every folder.
int count_threads(int proc, const char* process) {
  std::array<char, 300> path{};
  std::snprintf(path.data(), path.size(), "%s/task", process);
  struct stat status {};
  return ::fstatat(proc, path.data(), &status, 0) == 0 ? static_cast<int>(status.st_nlink) - 2 : 0;
}

/// True if /proc, which is the namespace's own, lists more than are allowed. System calls only: this process is a raw
/// copy of another.
bool are_too_many() {
  const int folder = ::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  alignas(dirent64) std::array<char, 8192> entries{};
  int processes = 0, threads = 0;
  for (;;) {
    const long bytes = ::syscall(SYS_getdents64, folder, entries.data(), entries.size());
    if (bytes <= 0) break;
    for (long at = 0; at < bytes;) {
      const auto* entry = reinterpret_cast<const dirent64*>(entries.data() + at);
      if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9') {
        ++processes;
        threads += count_threads(folder, entry->d_name);
      }
      at += entry->d_reclen;
    }
  }
  ::close(folder);
  return processes > k_processes_max || threads > k_threads_max;
}

/// The first process of the namespace: it reaps whatever becomes an orphan, and ends with the program or once there are
/// too many processes; its end ends all.
[[noreturn]] void guard(const JailEntry& entry, bool can_count, bool with_user_namespace) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);  // this process is a copy of one that knows keys
  ::setsid();
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  ::signal(SIGCHLD, SIG_DFL);
  sigprocmask(SIG_BLOCK, &children, nullptr);
  const pid_t program = raw_fork(0);
  if (program == 0) become_program(entry, with_user_namespace);
  if (program < 0) give_up(entry, k_fork, errno);
  for (const int descriptor : {entry.input, entry.output, entry.errors}) ::close(descriptor);
  for (;;) {
    int status = 0;
    const pid_t ended = ::waitpid(-1, &status, WNOHANG);
    if (ended < 0 && errno != EINTR) ::_exit(127);
    if (ended == program) {
      report(entry, k_status, status);
      ::_exit(0);
    }
    if (ended != 0) continue;
    if (can_count && are_too_many()) {
      report(entry, k_status, SIGKILL);
      ::_exit(0);
    }
    sigtimedwait(&children, nullptr, &k_count_interval);
  }
}

}  // namespace

const char* jail_step_name(int step) {
  return step >= 0 && static_cast<std::size_t>(step) < std::size(k_step_names) ? k_step_names[step] : "";
}

pid_t start_in_jail(const JailEntry& entry, bool with_user_namespace) {
  unsigned long namespaces = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC;
  if (with_user_namespace) namespaces |= CLONE_NEWUSER;
  const pid_t pid = raw_fork(namespaces);
  if (pid != 0) return pid;
  close_others(entry);
  if (with_user_namespace) take_identity(entry);
  // Where memory runs out, this goes first, and not the run. Before /proc is read-only; a container may have it so.
  write_file("/proc/self/oom_score_adj", "1000");
  const bool has_own_proc = arrange_mounts(entry);
  guard(entry, has_own_proc, with_user_namespace);
}

}  // namespace kernelites
