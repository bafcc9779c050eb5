// SPDX-License-Identifier: Apache-2.0
// What a prisoner attempts: a table of names and system calls.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

namespace kernelites {

inline constexpr int k_not_open = 200;

/// What must become of an attempt in every jail.
enum class Fate { special, denied, killed };

struct Attempt {
  std::string_view name;
  Fate fate;
  long (*run)();  ///< negative, with errno, if it did not succeed
};

inline long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  return ::syscall(number, a, b, c, d, e);
}
inline long place(const char* path) { return reinterpret_cast<long>(path); }
inline long open_file(const char* path, int flags) { return ::open(path, flags, 0600); }

// clang-format off
inline constexpr Attempt k_attempts[] = {
    // Files: `special` ones depend on the jail.
    {"open_passwd", Fate::special, [] { return open_file("/etc/passwd", O_RDONLY); }},
    {"open_library", Fate::special, [] { return open_file("/usr/lib/os-release", O_RDONLY); }},
    {"open_header", Fate::special, [] { return open_file("/usr/include/stdio.h", O_RDONLY); }},
    {"open_header_inside", Fate::special, [] { return open_file("/stdio.h", O_RDONLY); }},
    {"open_environment", Fate::special, [] { return open_file("/proc/self/environ", O_RDONLY); }},
    {"open_memory", Fate::special, [] { return open_file("/proc/self/mem", O_RDONLY); }},
    {"open_parent_memory", Fate::special,
     [] { return open_file(("/proc/" + std::to_string(::getppid()) + "/mem").c_str(), O_RDONLY); }},
    {"look_at_passwd", Fate::special, [] { return long{::access("/etc/passwd", F_OK)}; }},
    {"write_file", Fate::denied, [] { return open_file("jail_test_file", O_WRONLY | O_CREAT); }},
    {"write_allowed", Fate::denied, [] { return open_file("/usr/include/stdio.h", O_WRONLY); }},
    {"write_disk", Fate::denied, [] { return open_file("/dev/shm/jail_test", O_RDWR | O_CREAT); }},
    {"unlink", Fate::denied, [] { return long{::unlink("jail_test_file")}; }},
    {"mkdir", Fate::denied, [] { return long{::mkdir("jail_test_folder", 0700)}; }},
    {"rename", Fate::denied, [] { return long{::rename("a", "b")}; }},
    {"symlink", Fate::denied, [] { return long{::symlink("/etc/passwd", "jail_test_link")}; }},
    {"hard_link", Fate::denied, [] { return long{::link("/etc/passwd", "jail_test_link")}; }},
    {"chmod", Fate::denied, [] { return long{::chmod("/etc/passwd", 0777)}; }},
    {"truncate", Fate::denied, [] { return long{::truncate("/etc/passwd", 0)}; }},
    {"chdir", Fate::denied, [] { return long{::chdir("/")}; }},
    {"openat2", Fate::denied, [] { return call(SYS_openat2, AT_FDCWD, place("/etc/passwd"), 0, 0); }},
    {"open_by_handle", Fate::denied, [] { return call(SYS_open_by_handle_at, AT_FDCWD, 0, O_RDONLY); }},
    {"watch_files", Fate::denied, [] { return call(SYS_inotify_init1, 0); }},
    // Descriptors that a child inherits: the channel (3) and the lifeline (4) are its own; nothing else is open.
    {"write_inherited", Fate::special, [] {
       for (int fd = 5; fd < 256; ++fd)
         if (::write(fd, "x", 1) >= 0) return 0L;
       return -1L;
     }},
    {"write_lifeline", Fate::special, [] { return long{::write(4, "x", 1)}; }},
    {"signals_by_descriptor", Fate::denied, [] { return long{::fcntl(3, F_SETOWN, ::getppid())}; }},
    // Processes and signals.
    {"fork", Fate::denied, [] { const pid_t made = ::fork(); if (made == 0) std::_Exit(0); return long{made}; }},
    {"fork_bomb", Fate::denied, [] {
       long made = -1;
       for (int i = 0; i < 1000 && made < 0; ++i) {
         made = call(SYS_clone, SIGCHLD);
         if (made == 0) std::_Exit(0);
       }
       return made;
     }},
    {"kill_parent", Fate::denied, [] { return long{::kill(::getppid(), 0)}; }},
    {"stop_parent_thread", Fate::denied, [] { return call(SYS_tgkill, ::getppid(), ::getppid(), 0); }},
    {"signal_everybody", Fate::denied, [] { return long{::kill(-1, 0)}; }},
    {"queue_signal", Fate::denied, [] { return call(SYS_rt_sigqueueinfo, ::getppid(), SIGUSR1, 0); }},
    {"new_session", Fate::denied, [] { return long{::setsid()}; }},
    {"exec", Fate::killed, [] { char* const none[] = {nullptr}; return long{::execve("/bin/true", none, none)}; }},
    {"ptrace", Fate::killed, [] { return ::ptrace(PTRACE_ATTACH, ::getppid(), nullptr, nullptr); }},
    {"read_parent", Fate::killed, [] { return call(SYS_process_vm_readv, ::getppid(), 0, 0, 0, 0); }},
    {"write_parent", Fate::killed, [] { return call(SYS_process_vm_writev, ::getppid(), 0, 0, 0, 0); }},
    {"open_parent", Fate::denied, [] { return call(SYS_pidfd_open, ::getppid(), 0); }},
    {"steal_descriptor", Fate::killed, [] { return call(SYS_pidfd_getfd, 3, 0, 0); }},
    // Kernel interfaces with a history.
    {"io_uring", Fate::killed, [] { return call(SYS_io_uring_setup, 1, 0); }},
    {"userfaultfd", Fate::killed, [] { return call(SYS_userfaultfd, 0); }},
    {"bpf", Fate::killed, [] { return call(SYS_bpf, 0, 0, 0); }},
    {"keyctl", Fate::killed, [] { return call(SYS_keyctl, 0, -3, 1); }},
    {"add_key", Fate::killed, [] { return call(SYS_add_key, 0, 0, 0, 0, 0); }},
    {"perf", Fate::killed, [] { return call(SYS_perf_event_open, 0, 0, -1, -1, 0); }},
    {"namespaces", Fate::killed, [] { return long{::unshare(CLONE_NEWUSER)}; }},
    {"mount", Fate::killed, [] { return call(SYS_mount, 0, 0, 0, 0, 0); }},
    {"second_root", Fate::killed, [] { return long{::chroot(".")}; }},
    {"module", Fate::killed, [] { return call(SYS_init_module, 0, 0, 0); }},
    {"become_root", Fate::killed, [] { return call(SYS_setuid, 0); }},
    {"another_filter", Fate::denied, [] { return call(SYS_seccomp, 0, 0, 0); }},
    {"shared_segment", Fate::denied, [] { return call(SYS_shmget, 0, 4096, 0600); }},
    {"message_queue", Fate::denied, [] { return call(SYS_mq_open, place("/q"), O_CREAT | O_RDWR, 0600, 0); }},
    {"timer", Fate::denied, [] { return call(SYS_timer_create, CLOCK_REALTIME, 0, 0); }},
    {"set_clock", Fate::denied, [] { return call(SYS_clock_settime, CLOCK_REALTIME, 0); }},
    // Network.
    {"socket", Fate::denied, [] { return long{::socket(AF_INET, SOCK_STREAM, 0)}; }},
    {"local_socket", Fate::denied, [] { return long{::socket(AF_UNIX, SOCK_STREAM, 0)}; }},
    {"netlink", Fate::denied, [] { return long{::socket(AF_NETLINK, SOCK_RAW, 0)}; }},
    {"socket_pair", Fate::denied, [] { int ends[2]; return long{::socketpair(AF_UNIX, SOCK_STREAM, 0, ends)}; }},
    // Limits and priority.
    {"raise_limit", Fate::denied, [] {
       const rlimit more{1 << 20, 1 << 20};
       return long{::setrlimit(RLIMIT_NOFILE, &more)};
     }},
    {"realtime", Fate::denied, [] {
       const sched_param first{.sched_priority = 50};
       return long{::sched_setscheduler(0, SCHED_FIFO, &first)};
     }},
    {"priority", Fate::denied, [] { return long{::setpriority(PRIO_PROCESS, 0, -20)}; }},
    // What still works, or not, by jail.
    {"type_into_terminal", Fate::denied, [] { return long{::ioctl(2, TIOCSTI, "x")}; }},
    {"device_control", Fate::special, [] { return long{::ioctl(k_not_open, 0xc0104600UL, nullptr)}; }},
    {"memory_file", Fate::special, [] { return long{::memfd_create("test", MFD_CLOEXEC)}; }},
    {"thread", Fate::special, [] { int done = 0; std::thread([&] { done = 1; }).join(); return done ? 0L : -1L; }},
    {"much_memory", Fate::special, [] {
       constexpr int k_flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
       void* const got = ::mmap(nullptr, std::size_t{8} << 30, PROT_READ | PROT_WRITE, k_flags, -1, 0);
       return got == MAP_FAILED ? -1L : 0L;
     }},
};
// clang-format on

/// errno of the attempt, 0 if it succeeded.
inline int attempt(const std::string& what) {
  for (const Attempt& known : k_attempts) {
    if (known.name != what) continue;
    errno = 0;
    return known.run() < 0 ? (errno == 0 ? EPERM : errno) : 0;
  }
  return -1;
}

}  // namespace kernelites
