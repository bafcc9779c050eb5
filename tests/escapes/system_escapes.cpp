// SPDX-License-Identifier: Apache-2.0
// Other processes, kernel interfaces, networks.
#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <mqueue.h>
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

long read_memory_of(int process) {
  char byte = 0;
  iovec ours{&byte, 1}, theirs{reinterpret_cast<void*>(0x400000), 1};
  return ::process_vm_readv(process, &ours, 1, &theirs, 1, 0);
}

long gain_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct all[2] = {{~0U, ~0U, 0}, {0x1ff, 0x1ff, 0}};
  return ::syscall(SYS_capset, &header, all);
}

long connect_local(const char* name, bool is_abstract) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(address.sun_path + (is_abstract ? 1 : 0), name, sizeof address.sun_path - 2);
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  return socket < 0 ? -1 : ::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address);
}

/// Without network no socket of it can be made; with network this is no escape.
long forbidden_socket(Around around, int family, int type) {
  if (around.has_network) return errno = EACCES, -1;
  return ::socket(family, type, 0);
}

/// A descriptor beyond the three that the program has.
long use_inherited() {
  for (int descriptor = 3; descriptor < 1024; ++descriptor)
    if (::fcntl(descriptor, F_GETFD) >= 0) return descriptor;
  return errno = EBADF, -1;
}

long set_limit(int resource) {
  const rlimit more{RLIM_INFINITY, RLIM_INFINITY};
  return ::setrlimit(static_cast<__rlimit_resource_t>(resource), &more);
}

// clang-format off
constexpr Escape k_system[] = {
    {"signals", "kill_outside", [](Around) {
       // Numbers outside mean nothing in here: whoever gets hurt by this is the jail's own.
       for (int process = 300; process < 4'194'304; process = process * 3 / 2)
         if (::kill(process, 0) == 0) return 0L;
       return -1L; }},
    {"signals", "kill_group_of_first", [](Around) { return long{::kill(-1'000'000, 0)}; }},
    {"signals", "signal_by_descriptor", [](Around) { return long{::fcntl(0, F_SETOWN, 4'000'000)}; }},
    {"ptrace", "attach_to_first", [](Around) { return ::ptrace(PTRACE_ATTACH, 1, nullptr, nullptr); }},
    {"ptrace", "seize_first", [](Around) { return ::ptrace(PTRACE_SEIZE, 1, nullptr, nullptr); }},
    {"ptrace", "read_memory_of_first", [](Around) { return read_memory_of(1); }},
    {"ptrace", "steal_descriptor", [](Around) { return call(SYS_pidfd_getfd, call(SYS_pidfd_open, 1, 0), 0, 0); }},
    {"ptrace", "compare_resources", [](Around) { return call(SYS_kcmp, 1, ::getpid(), 0, 0, 0); }},
    {"namespaces", "unshare_user", [](Around) { return long{::unshare(CLONE_NEWUSER)}; }},
    {"namespaces", "unshare_mounts", [](Around) { return long{::unshare(CLONE_NEWNS)}; }},
    {"namespaces", "clone_user", [](Around) { return in_namespace(CLONE_NEWUSER); }},
    {"namespaces", "clone_network", [](Around) { return in_namespace(CLONE_NEWNET); }},
    {"namespaces", "clone3", [](Around) { return call(SYS_clone3, nullptr, 0); }},
    {"namespaces", "enter_others", [](Around) {
       return long{::setns(static_cast<int>(open_path("/proc/1/ns/mnt", O_RDONLY)), 0)}; }},
    {"mount", "mount_memory", [](Around a) { return long{::mount("x", a.outside.c_str(), "tmpfs", 0, nullptr)}; }},
    {"mount", "make_writable", [](Around) {
       return long{::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND, nullptr)}; }},
    {"mount", "unmount_proc", [](Around) { return long{::umount2("/proc", MNT_DETACH)}; }},
    {"mount", "new_mount_calls", [](Around) { return call(SYS_fsopen, "tmpfs", 0); }},
    {"mount", "copy_tree", [](Around) { return call(SYS_open_tree, AT_FDCWD, "/", 1); }},
    {"mount", "mount_attributes", [](Around) { return call(SYS_mount_setattr, AT_FDCWD, "/", 0, nullptr, 0); }},
    {"mount", "chroot", [](Around) { return long{::chroot(".")}; }},
    {"mount", "pivot_root", [](Around) { return call(SYS_pivot_root, ".", "."); }},
    {"privileges", "capabilities", [](Around) { return gain_capabilities(); }},
    {"privileges", "become_another", [](Around) { return long{::setresuid(12345, 12345, 12345)}; }},
    {"privileges", "groups", [](Around) { const gid_t group = 6; return long{::setgroups(1, &group)}; }},
    {"privileges", "files_without_limit", [](Around) { return set_limit(RLIMIT_NOFILE); }},
    {"privileges", "sizes_without_limit", [](Around) { return set_limit(RLIMIT_FSIZE); }},
    {"privileges", "realtime", [](Around) {
       const sched_param first{.sched_priority = 50};
       return long{::sched_setscheduler(0, SCHED_FIFO, &first)}; }},
    {"privileges", "priority", [](Around) { return long{::setpriority(PRIO_PROCESS, 0, -20)}; }},
    {"io_uring", "io_uring", [](Around) { return call(SYS_io_uring_setup, 1, nullptr); }},
    {"kernel interfaces", "userfaultfd", [](Around) { return call(SYS_userfaultfd, 0); }},
    {"kernel interfaces", "perf", [](Around) { return call(SYS_perf_event_open, nullptr, 0, -1, -1, 0); }},
    {"kernel interfaces", "module", [](Around) { return call(SYS_init_module, nullptr, 0, ""); }},
    {"kernel interfaces", "new_kernel", [](Around) { return call(SYS_kexec_load, 0, 0, nullptr, 0); }},
    {"kernel interfaces", "reboot", [](Around) { return call(SYS_reboot, 0xfee1dead, 672274793, 0, nullptr); }},
    {"kernel interfaces", "swap", [](Around) { return call(SYS_swapoff, "/none"); }},
    {"kernel interfaces", "accounting", [](Around) { return call(SYS_acct, nullptr); }},
    {"kernel interfaces", "host_name", [](Around) { return long{::sethostname("escaped", 7)}; }},
    {"kernel interfaces", "kernel_log", [](Around) { char text[64]; return call(SYS_syslog, 3, text, sizeof text); }},
    {"kernel interfaces", "set_clock", [](Around) {
       const timeval time{1, 0};
       return long{::settimeofday(&time, nullptr)}; }},
    {"kernel interfaces", "bend_clock", [](Around) {
       timex change{};
       change.modes = ADJ_TICK;
       change.tick = 9000;
       return long{::adjtimex(&change)}; }},
    {"kernel interfaces", "ports", [](Around) { return call(SYS_iopl, 3); }},
    {"kernel interfaces", "watch_all_files", [](Around) { return call(SYS_fanotify_init, 0, 0); }},
    {"bpf", "bpf", [](Around) { return call(SYS_bpf, 0, nullptr, 0); }},
    {"keyrings", "read_session_keys", [](Around) { return call(SYS_keyctl, 0, -3, 1); }},
    {"keyrings", "add_key", [](Around) { return call(SYS_add_key, "user", "x", "y", 1, -3); }},
    {"keyrings", "request_key", [](Around) { return call(SYS_request_key, "user", "x", nullptr, -3); }},
    {"network", "internet", [](Around a) { return forbidden_socket(a, AF_INET, SOCK_STREAM); }},
    {"network", "internet_6", [](Around a) { return forbidden_socket(a, AF_INET6, SOCK_DGRAM); }},
    {"network", "kernel_messages", [](Around a) { return forbidden_socket(a, AF_NETLINK, SOCK_RAW); }},
    {"network", "raw_packets", [](Around) { return long{::socket(AF_PACKET, SOCK_RAW, 0)}; }},
    {"network", "raw_internet", [](Around) { return long{::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)}; }},
    {"network", "virtual_machines", [](Around) { return long{::socket(AF_VSOCK, SOCK_STREAM, 0)}; }},
    {"network", "container_daemon", [](Around) { return connect_local("/run/docker.sock", false); }},
    {"network", "message_bus", [](Around) { return connect_local("/run/dbus/system_bus_socket", false); }},
    {"network", "abstract_socket", [](Around) { return connect_local("/tmp/.X11-unix/X0", true); }},
    {"descriptors", "inherited", [](Around) { return use_inherited(); }},
    {"environment", "other_keys", [](Around) {
       return std::getenv("KERNELITES_TEST_OTHER_KEY") != nullptr ? 0L : -1L; }},
};
// clang-format on

}  // namespace

std::span<const Escape> system_escapes() { return k_system; }

}  // namespace kernelites::escapes
