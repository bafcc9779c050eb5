// SPDX-License-Identifier: Apache-2.0
// A default-allow filter: a coding agent is a whole tool box, and paths are Landlock's business.
#include "engine/jail/command_filter.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "engine/core/error.h"

namespace kernelites {
namespace {

static_assert(sizeof(FilterInstruction) == sizeof(sock_filter));

// clang-format off
constexpr auto k_denied = std::to_array<int>({
    SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(process_madvise),
    SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp), SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot),
    SCMP_SYS(mount_setattr), SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(fsopen), SCMP_SYS(fsmount),
    SCMP_SYS(fsconfig), SCMP_SYS(fspick), SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(bpf), SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
    SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(init_module), SCMP_SYS(finit_module),
    SCMP_SYS(delete_module), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(reboot), SCMP_SYS(swapon),
    SCMP_SYS(swapoff), SCMP_SYS(open_by_handle_at), SCMP_SYS(name_to_handle_at), SCMP_SYS(fanotify_init),
    SCMP_SYS(quotactl), SCMP_SYS(acct), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname), SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(lookup_dcookie), SCMP_SYS(syslog),
});
// clang-format on

constexpr auto k_network_families = std::to_array<int>({AF_INET, AF_INET6, AF_NETLINK});

scmp_arg_cmp argument(unsigned index, scmp_compare comparison, std::uint64_t value) {
  return {.arg = index, .op = comparison, .datum_a = value, .datum_b = 0};
}

void check(int result, const char* call) {
  if (result < 0) throw Error(std::string(call) + ": " + std::strerror(-result));
}

/// Denies every family but those of the network; pairs of local sockets stay, being pipes.
void deny_sockets(scmp_filter_ctx context, bool allows_network) {
  int below = 0;
  const auto deny_range = [&](int first, int last) {
    for (int family = first; family <= last; ++family)
      check(seccomp_rule_add(context, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1,
                             argument(0, SCMP_CMP_EQ, static_cast<std::uint64_t>(family))),
            "seccomp_rule_add");
  };
  if (allows_network) {
    for (const int family : k_network_families) {
      deny_range(below, family - 1);
      below = family + 1;
    }
  }
  check(seccomp_rule_add(context, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1,
                         argument(0, SCMP_CMP_GE, static_cast<std::uint64_t>(below))),
        "seccomp_rule_add");
}

}  // namespace

std::vector<FilterInstruction> make_command_filter(bool allows_network) {
  const std::unique_ptr<void, void (*)(void*)> context(seccomp_init(SCMP_ACT_ALLOW), &seccomp_release);
  if (!context) throw Error("seccomp_init: out of memory");
  for (const int call : k_denied)
    check(seccomp_rule_add(context.get(), SCMP_ACT_ERRNO(EPERM), call, 0), "seccomp_rule_add");
  deny_sockets(context.get(), allows_network);
  // New namespaces would come with new rights; clone3, whose flags a filter cannot see, falls back to clone.
  constexpr std::uint64_t k_namespaces = 0x7e020000;  // CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}
  for (std::uint64_t bit = 1; bit <= k_namespaces; bit <<= 1) {
    if ((bit & k_namespaces) == 0) continue;
    const scmp_arg_cmp has_bit{.arg = 0, .op = SCMP_CMP_MASKED_EQ, .datum_a = bit, .datum_b = bit};
    check(seccomp_rule_add(context.get(), SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, has_bit),
          "seccomp_rule_add");
  }
  check(seccomp_rule_add(context.get(), SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0), "seccomp_rule_add");

  const int file = ::memfd_create("filter", MFD_CLOEXEC);
  if (file < 0) throw Error(std::string("memfd_create: ") + std::strerror(errno));
  const int result = seccomp_export_bpf(context.get(), file);
  const off_t bytes = result < 0 ? 0 : ::lseek(file, 0, SEEK_END);
  std::vector<FilterInstruction> filter(static_cast<std::size_t>(bytes) / sizeof(FilterInstruction));
  const ssize_t count = ::pread(file, filter.data(), static_cast<std::size_t>(bytes), 0);
  ::close(file);
  check(result, "seccomp_export_bpf");
  if (count != bytes || filter.empty()) throw Error("the seccomp filter could not be read back");
  return filter;
}

int enforce_command_filter(const std::vector<FilterInstruction>& filter) {
  sock_fprog program{.len = static_cast<unsigned short>(filter.size()),
                     .filter = reinterpret_cast<sock_filter*>(const_cast<FilterInstruction*>(filter.data()))};
  return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? 0 : errno;
}

}  // namespace kernelites
