// SPDX-License-Identifier: Apache-2.0
// Landlock by its three system calls: C libraries have no wrappers, and the distribution's kernel headers are
// older than the kernels that we run on (https://docs.kernel.org/userspace-api/landlock.html).
#include "evaluators/worker/sandbox/landlock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "evaluators/worker/sandbox/file_descriptor.h"

namespace kernelites::worker {
namespace {

// The same numbers on every architecture (asm-generic/unistd.h).
constexpr long k_create_ruleset = 444, k_add_rule = 445, k_restrict_self = 446;
constexpr std::uint32_t k_create_ruleset_version = 1;
constexpr int k_rule_path_beneath = 1;

// linux/landlock.h, with what later kernels added.
struct RulesetAttributes {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;  ///< since ABI 4
  std::uint64_t scoped = 0;              ///< since ABI 6
};
struct [[gnu::packed]] PathBeneath {
  std::uint64_t allowed_access = 0;
  std::int32_t parent_fd = -1;
};
constexpr std::uint64_t k_write_file = 1 << 1, k_read_file = 1 << 2, k_read_dir = 1 << 3,
                        k_ioctl_dev = 1 << 15;

/// Every right that this version of the interface knows: what is handled and not granted is denied.
RulesetAttributes everything(int abi) {
  constexpr std::uint64_t k_first = (1 << 13) - 1, k_refer = 1 << 13, k_truncate = 1 << 14;
  RulesetAttributes all{.handled_access_fs = k_first};
  if (abi >= 2) all.handled_access_fs |= k_refer;
  if (abi >= 3) all.handled_access_fs |= k_truncate;
  if (abi >= 4) all.handled_access_net = 0b11;  // bind and connect over TCP
  if (abi >= 5) all.handled_access_fs |= k_ioctl_dev;
  if (abi >= 6) all.scoped = 0b11;  // abstract unix sockets and signals to processes outside
  return all;
}

/// How much of the structure an older kernel knows; it refuses a longer one that is not zero.
std::size_t attribute_bytes(int abi) { return abi >= 6 ? 24 : abi >= 4 ? 16 : 8; }

/// False: the kernel refused. A path that does not exist needs no rule.
bool allow(int ruleset, const std::filesystem::path& path, std::uint64_t access) {
  const FileDescriptor target(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!target) return true;
  struct stat facts {};
  if (::fstat(target.get(), &facts) != 0) return false;
  if (!S_ISDIR(facts.st_mode)) access &= ~k_read_dir;
  const PathBeneath rule{.allowed_access = access, .parent_fd = target.get()};
  return ::syscall(k_add_rule, ruleset, k_rule_path_beneath, &rule, 0) == 0;
}

LandlockOutcome refused(const char* what) {
  return {.problem = std::string(what) + ": " + std::strerror(errno)};
}

}  // namespace

LandlockOutcome restrict_by_landlock(const LandlockRules& rules) {
  const long abi = ::syscall(k_create_ruleset, nullptr, 0, k_create_ruleset_version);
  if (abi < 1) return refused("the kernel has no Landlock");
  const RulesetAttributes handled = everything(static_cast<int>(abi));
  const FileDescriptor ruleset(
      static_cast<int>(::syscall(k_create_ruleset, &handled, attribute_bytes(static_cast<int>(abi)), 0)));
  if (!ruleset) return refused("landlock_create_ruleset");
  const std::uint64_t device_access = k_read_file | k_write_file | k_read_dir | k_ioctl_dev;
  for (const auto& path : rules.readable)
    if (!allow(ruleset.get(), path, k_read_file | k_read_dir)) return refused("landlock_add_rule");
  for (const auto& path : rules.devices)
    if (!allow(ruleset.get(), path, device_access & handled.handled_access_fs))
      return refused("landlock_add_rule");
  if (::syscall(k_restrict_self, ruleset.get(), 0) != 0) return refused("landlock_restrict_self");
  return {.abi = static_cast<int>(abi)};
}

}  // namespace kernelites::worker
