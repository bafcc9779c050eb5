// SPDX-License-Identifier: Apache-2.0
// Default-deny: tables of what a jailed child may do, built into a filter by libseccomp.
//
// Three answers besides "allowed". EPERM, the default: NVRTC, the C library and the CUDA driver probe for
// files, sockets and features and go on without. ENOSYS for calls whose arguments a filter cannot see
// (clone3): the C library then falls back to a call whose arguments it can. Kill for what no honest library
// asks for, so that an attempt ends the child with a name.
#include "evaluators/worker/sandbox/system_call_filter.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

namespace kernelites::worker {
namespace {

// clang-format off
/// Memory, threads, time, and what is open already.
constexpr auto k_allowed = std::to_array<int>({
    SCMP_SYS(brk), SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mprotect), SCMP_SYS(mremap), SCMP_SYS(madvise),
    SCMP_SYS(mincore), SCMP_SYS(mlock), SCMP_SYS(munlock), SCMP_SYS(msync), SCMP_SYS(membarrier),
    SCMP_SYS(get_mempolicy), SCMP_SYS(mbind), SCMP_SYS(set_mempolicy),
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(get_robust_list), SCMP_SYS(rseq), SCMP_SYS(set_tid_address),
    SCMP_SYS(arch_prctl), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_setaffinity),
    SCMP_SYS(sched_getparam), SCMP_SYS(sched_getscheduler), SCMP_SYS(sched_get_priority_min),
    SCMP_SYS(sched_get_priority_max), SCMP_SYS(getcpu),
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group),
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(times), SCMP_SYS(getrusage), SCMP_SYS(getrandom),
    SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(gettid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
    SCMP_SYS(getegid), SCMP_SYS(getpgrp), SCMP_SYS(getrlimit), SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(getcwd),
    SCMP_SYS(read), SCMP_SYS(pread64), SCMP_SYS(readv), SCMP_SYS(preadv), SCMP_SYS(write), SCMP_SYS(pwrite64),
    SCMP_SYS(writev), SCMP_SYS(lseek), SCMP_SYS(close), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3),
    SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(eventfd2), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select),
    SCMP_SYS(pselect6), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
    SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(shutdown),
    SCMP_SYS(fstat), SCMP_SYS(fstatfs), SCMP_SYS(fadvise64),
});

/// Looking at paths: which ones is Landlock's business.
constexpr auto k_allowed_paths = std::to_array<int>({
    SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(statfs), SCMP_SYS(access),
    SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents64),
});

/// What no honest child asks for.
constexpr auto k_deadly = std::to_array<int>({
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
    SCMP_SYS(process_madvise), SCMP_SYS(pidfd_getfd), SCMP_SYS(pidfd_send_signal), SCMP_SYS(kcmp),
    SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(unshare), SCMP_SYS(setns),
    SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup), SCMP_SYS(keyctl),
    SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load), SCMP_SYS(reboot), SCMP_SYS(swapon), SCMP_SYS(setuid), SCMP_SYS(setgid),
    SCMP_SYS(setresuid), SCMP_SYS(setresgid), SCMP_SYS(capset), SCMP_SYS(personality),
});

/// Descriptor flags only: not F_SETOWN and F_SETSIG, which send signals.
constexpr auto k_fcntl_commands = std::to_array<int>({
    F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_ADD_SEALS, F_GET_SEALS,
});

constexpr auto k_prctl_options = std::to_array<int>({
    PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_SET_PDEATHSIG, PR_GET_NO_NEW_PRIVS, PR_SET_NO_NEW_PRIVS,
    PR_GET_SECCOMP, 0x53564d41 /* PR_SET_VMA */,
});
// clang-format on

/// Collects the first refusal, so that the tables read as tables.
class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_ERRNO(EPERM)), &seccomp_release) {
    if (!context_) error_ = ENOMEM;
    // All threads: the driver and NVRTC may have started theirs.
    else
      note(seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_TSYNC, 1));
  }

  template <typename... Comparisons>
  void rule(std::uint32_t action, int call, Comparisons... comparisons) {
    if (error_) return;
    if constexpr (sizeof...(comparisons) == 0) {
      note(seccomp_rule_add_array(context_.get(), action, call, 0, nullptr));
    } else {
      const scmp_arg_cmp list[] = {comparisons...};
      note(seccomp_rule_add_array(context_.get(), action, call, sizeof...(comparisons), list));
    }
  }
  template <typename... Comparisons>
  void allow(int call, Comparisons... comparisons) {
    rule(SCMP_ACT_ALLOW, call, comparisons...);
  }

  std::string load() {
    if (!error_) note(seccomp_load(context_.get()));
    return error_ ? std::string("seccomp: ") + std::strerror(error_) : "";
  }

 private:
  void note(int result) {
    if (result < 0 && !error_) error_ = -result;
  }

  std::unique_ptr<void, void (*)(void*)> context_;
  int error_ = 0;
};

scmp_arg_cmp equals(unsigned argument, std::uint64_t value) {
  return {.arg = argument, .op = SCMP_CMP_EQ, .datum_a = value, .datum_b = 0};
}
scmp_arg_cmp has_bits(unsigned argument, std::uint64_t mask, std::uint64_t value) {
  return {.arg = argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
}

void allow_threads(Filter& filter) {
  // The C library starts threads with CLONE_VM | CLONE_THREAD | ...; a new process lacks CLONE_THREAD.
  filter.allow(SCMP_SYS(clone), has_bits(0, CLONE_THREAD, CLONE_THREAD));
  filter.rule(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
  const auto self = static_cast<std::uint64_t>(::getpid());
  filter.allow(SCMP_SYS(tgkill), equals(0, self));  // abort()
  filter.allow(SCMP_SYS(kill), equals(0, self));
  filter.allow(SCMP_SYS(prlimit64), equals(0, 0), equals(2, 0));  // asking for one's own limits
  filter.allow(SCMP_SYS(prlimit64), equals(0, self), equals(2, 0));
}

/// Every ioctl but those of terminals, one of which types into the terminal that stderr may be. Their numbers have
/// 0x54 in the second byte; a number is allowed if any bit of that byte is another (a filter knows no "unless").
void allow_device_control(Filter& filter) {
  constexpr std::uint64_t k_terminal = 0x5400;
  for (std::uint64_t bit = 1 << 8; bit <= 1 << 15; bit <<= 1)
    filter.allow(SCMP_SYS(ioctl), has_bits(1, bit, ~k_terminal & bit));
}

void allow_opening(Filter& filter, bool with_writing) {
  constexpr std::uint64_t k_creates = O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY);
  const std::uint64_t forbidden = with_writing ? k_creates : k_creates | O_ACCMODE;
  filter.allow(SCMP_SYS(open), has_bits(1, forbidden, 0));
  filter.allow(SCMP_SYS(openat), has_bits(2, forbidden, 0));
}

}  // namespace

std::string load_system_call_filter(const JailPolicy& policy) {
  Filter filter;
  for (const int call : k_allowed) filter.allow(call);
  for (const int call : k_deadly) filter.rule(SCMP_ACT_KILL_PROCESS, call);
  for (const int command : k_fcntl_commands)
    filter.allow(SCMP_SYS(fcntl), equals(1, static_cast<unsigned>(command)));
  for (const int option : k_prctl_options)
    filter.allow(SCMP_SYS(prctl), equals(0, static_cast<unsigned>(option)));
  // The C library's fstat; a path beside the flag tells what there is, not what is in it.
  filter.allow(SCMP_SYS(newfstatat), has_bits(3, AT_EMPTY_PATH, AT_EMPTY_PATH));
  allow_threads(filter);
  if (!policy.readable.empty() || !policy.devices.empty()) {
    for (const int call : k_allowed_paths) filter.allow(call);
    allow_opening(filter, policy.allow_gpu_ioctl);
  }
  if (policy.allow_gpu_ioctl) allow_device_control(filter);
  if (policy.allow_memory_files) {
    filter.allow(SCMP_SYS(memfd_create));
    filter.allow(SCMP_SYS(ftruncate));
    filter.allow(SCMP_SYS(fallocate));
  }
  return filter.load();
}

}  // namespace kernelites::worker
