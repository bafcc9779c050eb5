// SPDX-License-Identifier: Apache-2.0
// Other processes, kernel interfaces, networks.
#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "tests/escapes/escape_attempts.h"

namespace kernelites::escapes {
namespace {

using Around = const Surroundings&;

template <typename... Arguments>
long call(long number, Arguments... arguments) {
  return ::syscall(number, arguments...);
}

/// A child in new namespaces; the parent's answer.
long in_namespace(unsigned long flags) {
  const long made = ::syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  if (made == 0) ::_exit(0);
  return made;
}

long clone3_user() {
  clone_args arguments{};
  arguments.flags = CLONE_NEWUSER;
  arguments.exit_signal = SIGCHLD;
  const long made = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (made == 0) ::_exit(0);
  return made;
}

/// Of the program's own image, which is linked to this address in every process of it.
long read_memory_of(int process) {
  char byte = 0;
  iovec ours{&byte, 1}, theirs{reinterpret_cast<void*>(0x400000), 1};
  return ::process_vm_readv(process, &ours, 1, &theirs, 1, 0);
}

long gain_capability() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct wanted[2] = {{1U << CAP_SYS_ADMIN, 1U << CAP_SYS_ADMIN, 0}, {}};
  return ::syscall(SYS_capset, &header, wanted);
}

long enter_mounts_of(int process) {
  const std::string path = "/proc/" + std::to_string(process) + "/ns/mnt";
  return ::setns(static_cast<int>(open_path(path, O_RDONLY)), 0);
}

long make_root_writable() {
  mount_attr writable{};
  writable.attr_clr = MOUNT_ATTR_RDONLY;
  return ::syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &writable, sizeof writable);
}

/// A file system of its own as the root.
long pivot_here() {
  char folder[4096] = {};
  if (::getcwd(folder, sizeof folder) == nullptr) return -1;
  ::mount(folder, folder, nullptr, MS_BIND, nullptr);
  return ::chdir(folder) != 0 ? -1 : ::syscall(SYS_pivot_root, ".", ".");
}

long make_ring() {
  io_uring_params parameters{};
  return ::syscall(SYS_io_uring_setup, 1, &parameters);
}

long count_events() {
  perf_event_attr event{};
  event.type = PERF_TYPE_SOFTWARE;
  event.size = sizeof event;
  event.config = PERF_COUNT_SW_TASK_CLOCK;
  return ::syscall(SYS_perf_event_open, &event, 0, -1, -1, 0);
}

long make_map() {
  bpf_attr map{};
  map.map_type = BPF_MAP_TYPE_ARRAY;
  map.key_size = 4;
  map.value_size = 8;
  map.max_entries = 1;
  return ::syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map);
}

/// The clock's own frequency once more: nothing changes, but who may do this may bend it.
long bend_clock() {
  timex clock{};
  if (::adjtimex(&clock) < 0) return -1;
  clock.modes = ADJ_FREQUENCY;
  return ::adjtimex(&clock);
}

/// The time zone that the kernel has, once more.
long set_clock() {
  struct timezone zone {};
  return ::syscall(SYS_gettimeofday, nullptr, &zone) != 0 ? -1 : ::syscall(SYS_settimeofday, nullptr, &zone);
}

constexpr long k_session_keys = -3;

long find_key() {
  ::syscall(SYS_add_key, "user", "kernelites", "y", 1, k_session_keys);
  return ::syscall(SYS_request_key, "user", "kernelites", nullptr, k_session_keys);
}

long connect_local(const std::string& name, bool is_abstract) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const std::size_t start = is_abstract ? 1 : 0;
  if (name.size() + start >= sizeof address.sun_path) return errno = ENAMETOOLONG, -1;
  std::memcpy(address.sun_path + start, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + start + name.size());
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  return socket < 0 ? -1 : ::connect(socket, reinterpret_cast<sockaddr*>(&address), size);
}

/// Without network no socket of it can be made; with network this is no escape.
long forbidden_socket(Around around, int family, int type) {
  return around.has_network ? k_not_asked : ::socket(family, type, 0);
}

/// A descriptor beyond the three that the program has.
long use_inherited() {
  for (int descriptor = 3; descriptor < 1024; ++descriptor)
    if (::fcntl(descriptor, F_GETFD) >= 0) return descriptor;
  return errno = EBADF, -1;
}

long set_limit(int resource, rlim_t most) {
  const rlimit more{most, most};
  return ::setrlimit(static_cast<__rlimit_resource_t>(resource), &more);
}

/// Of a process outside.
long open_process(int number) { return ::syscall(SYS_pidfd_open, number, 0); }

// clang-format off
constexpr Escape k_system[] = {
    // Numbers outside mean nothing in a jail.
    {"signals", "signal_outside", [](Around a) { return long{::kill(a.victim, 0)}; }},
    {"signals", "signal_group_outside", [](Around a) { return long{::kill(-a.victim, 0)}; }},
    {"signals", "signal_by_descriptor", [](Around a) { return long{::fcntl(0, F_SETOWN, a.victim)}; }},
    {"signals", "queue_outside", [](Around a) { return long{::sigqueue(a.victim, 0, {})}; }},
    {"signals", "open_outside", [](Around a) { return open_process(a.victim); }},
    {"signals", "slow_outside", [](Around a) {
       return long{::setpriority(PRIO_PROCESS, static_cast<id_t>(a.victim), 1)}; }},
    {"signals", "move_outside", [](Around a) {
       const cpu_set_t all = [] { cpu_set_t set; CPU_ZERO(&set); CPU_SET(0, &set); return set; }();
       return long{::sched_setaffinity(a.victim, sizeof all, &all)}; }},
    {"signals", "limit_outside", [](Around a) {
       rlimit told{};
       return long{::prlimit(a.victim, RLIMIT_CORE, nullptr, &told)}; }},
    {"ptrace", "attach_to_first", [](Around a) { return ::ptrace(PTRACE_ATTACH, a.first, nullptr, nullptr); }},
    {"ptrace", "seize_first", [](Around a) { return ::ptrace(PTRACE_SEIZE, a.first, nullptr, nullptr); }},
    {"ptrace", "read_memory_of_first", [](Around a) { return read_memory_of(a.first); }},
    {"ptrace", "steal_descriptor", [](Around a) { return call(SYS_pidfd_getfd, open_process(a.first), 0, 0); }},
    {"ptrace", "compare_resources", [](Around a) { return call(SYS_kcmp, a.first, ::getpid(), 0, 0, 0); }},
    {"namespaces", "unshare_user", [](Around) { return long{::unshare(CLONE_NEWUSER)}; }},
    {"namespaces", "unshare_mounts", [](Around) { return long{::unshare(CLONE_NEWNS)}; }},
    {"namespaces", "clone_user", [](Around) { return in_namespace(CLONE_NEWUSER); }},
    {"namespaces", "clone_network", [](Around) { return in_namespace(CLONE_NEWNET); }},
    {"namespaces", "clone3_user", [](Around) { return clone3_user(); }},
    {"namespaces", "enter_others", [](Around a) { return enter_mounts_of(a.first); }},
    {"mount", "mount_memory", [](Around a) { return long{::mount("x", a.outside.c_str(), "tmpfs", 0, nullptr)}; }},
    {"mount", "bind_secret", [](Around a) {
       open_path("mine.txt", O_WRONLY | O_CREAT);
       return long{::mount(a.secret().c_str(), "mine.txt", nullptr, MS_BIND, nullptr)}; }},
    {"mount", "make_writable", [](Around) {
       return long{::mount(nullptr, "/proc", nullptr, MS_REMOUNT | MS_BIND, nullptr)}; }},
    {"mount", "unmount_proc", [](Around) { return long{::umount2("/proc", MNT_DETACH)}; }},
    {"mount", "new_mount_calls", [](Around) { return call(SYS_fsopen, "tmpfs", 0); }},
    {"mount", "copy_tree", [](Around) { return call(SYS_open_tree, AT_FDCWD, "/", 1); }},
    {"mount", "mount_attributes", [](Around) { return make_root_writable(); }},
    {"mount", "chroot", [](Around) { return long{::chroot(".")}; }},
    {"mount", "pivot_root", [](Around) { return pivot_here(); }},
    {"privileges", "capability", [](Around) { return gain_capability(); }},
    {"privileges", "become_another", [](Around) { return long{::setresuid(12345, 12345, 12345)}; }},
    {"privileges", "become_another_group", [](Around) { return long{::setresgid(12345, 12345, 12345)}; }},
    {"privileges", "groups", [](Around) { const gid_t group = 6; return long{::setgroups(1, &group)}; }},
    {"privileges", "more_files", [](Around) { return set_limit(RLIMIT_NOFILE, 1025); }},
    {"privileges", "sizes_without_limit", [](Around) { return set_limit(RLIMIT_FSIZE, RLIM_INFINITY); }},
    {"privileges", "realtime", [](Around) {
       const sched_param first{.sched_priority = 50};
       return long{::sched_setscheduler(0, SCHED_FIFO, &first)}; }},
    {"privileges", "priority", [](Around) { return long{::setpriority(PRIO_PROCESS, 0, -20)}; }},
    {"io_uring", "io_uring", [](Around) { return make_ring(); }},
    {"kernel interfaces", "userfaultfd", [](Around) { return call(SYS_userfaultfd, 0); }},
    {"kernel interfaces", "perf", [](Around) { return count_events(); }},
    {"kernel interfaces", "accounting", [](Around) { return call(SYS_acct, nullptr); }, "only where the kernel has it"},
    {"kernel interfaces", "host_name", [](Around) { return long{::sethostname("escaped", 7)}; }},
    {"kernel interfaces", "kernel_log", [](Around) { char text[64]; return call(SYS_syslog, 3, text, sizeof text); }},
    {"kernel interfaces", "set_clock", [](Around) { return set_clock(); }},
    {"kernel interfaces", "bend_clock", [](Around) { return bend_clock(); }},
    {"kernel interfaces", "ports", [](Around) { return call(SYS_iopl, 3); }, "only where the kernel has it"},
    {"kernel interfaces", "watch_all_files", [](Around) { return call(SYS_fanotify_init, 0, 0); },
     "only where the kernel has it"},
    {"kernel interfaces", "module", [](Around) { return call(SYS_init_module, nullptr, 0, ""); },
     "a module of ours would stay"},
    {"kernel interfaces", "new_kernel", [](Around) { return call(SYS_kexec_load, 0, 0, nullptr, 0); },
     "it would take away the kernel that a crash is to start"},
    {"kernel interfaces", "reboot", [](Around) { return call(SYS_reboot, 0xfee1dead, 672274793, 0, nullptr); },
     "it would end the machine's way to restart"},
    {"kernel interfaces", "swap", [](Around) { return call(SYS_swapoff, "/none"); }, "there is nothing to take away"},
    {"bpf", "bpf", [](Around) { return make_map(); }},
    {"keyrings", "read_session_keys", [](Around) { return call(SYS_keyctl, 0, k_session_keys, 1); }},
    {"keyrings", "add_key", [](Around) { return call(SYS_add_key, "user", "x", "y", 1, k_session_keys); }},
    {"keyrings", "request_key", [](Around) { return find_key(); }},
    {"network", "internet", [](Around a) { return forbidden_socket(a, AF_INET, SOCK_STREAM); }},
    {"network", "internet_6", [](Around a) { return forbidden_socket(a, AF_INET6, SOCK_DGRAM); },
     "only where the kernel has it"},
    {"network", "kernel_sockets", [](Around a) { return forbidden_socket(a, AF_NETLINK, SOCK_RAW); }},
    {"network", "raw_packets", [](Around) { return long{::socket(AF_PACKET, SOCK_RAW, 0)}; },
     "only where the kernel has it"},
    {"network", "raw_internet", [](Around) { return long{::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)}; }},
    {"network", "virtual_machines", [](Around) { return long{::socket(AF_VSOCK, SOCK_STREAM, 0)}; },
     "only where the kernel has it"},
    {"network", "local_daemon", [](Around a) { return connect_local(a.daemon(), false); }},
    {"network", "abstract_daemon", [](Around a) { return connect_local(a.abstract_daemon(), true); }},
    {"descriptors", "inherited", [](Around) { return use_inherited(); }},
    {"environment", "other_keys", [](Around) {
       return std::getenv("KERNELITES_TEST_OTHER_KEY") != nullptr ? 0L : -1L; }},
};
// clang-format on

}  // namespace

std::span<const Escape> system_escapes() { return k_system; }

}  // namespace kernelites::escapes
