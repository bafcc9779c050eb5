// SPDX-License-Identifier: Apache-2.0
// Landlock by its three system calls: C libraries have no wrappers, and the distribution's kernel headers are
// older than the kernels that we run on (https://docs.kernel.org/userspace-api/landlock.html).
#include "engine/jail/landlock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace kernelites {
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
constexpr std::uint64_t k_execute = 1 << 0, k_write_file = 1 << 1, k_read_file = 1 << 2, k_read_dir = 1 << 3,
                        k_make_char = 1 << 6, k_make_block = 1 << 11, k_first = (1 << 13) - 1,
                        k_refer = 1 << 13, k_truncate = 1 << 14, k_ioctl_dev = 1 << 15;

/// Every right that this version of the interface knows: what is handled and not granted is denied.
RulesetAttributes everything(int abi, bool allows_tcp) {
  RulesetAttributes all{.handled_access_fs = k_first};
  if (abi >= 2) all.handled_access_fs |= k_refer;
  if (abi >= 3) all.handled_access_fs |= k_truncate;
  if (abi >= 4 && !allows_tcp) all.handled_access_net = 0b11;  // bind and connect
  if (abi >= 5) all.handled_access_fs |= k_ioctl_dev;
  if (abi >= 6) all.scoped = 0b11;  // abstract unix sockets and signals to processes outside
  return all;
}

/// How much of the structure an older kernel knows; it refuses a longer one that is not zero.
std::size_t attribute_bytes(int abi) { return abi >= 6 ? 24 : abi >= 4 ? 16 : 8; }

/// 0, or the errno of the kernel's refusal. A path that does not exist needs no rule. Allocates nothing.
int allow(int ruleset, const char* path, std::uint64_t access) {
  const int target = ::open(path, O_PATH | O_CLOEXEC);
  if (target < 0) return 0;
  struct stat facts {};
  int problem = ::fstat(target, &facts) == 0 ? 0 : errno;
  constexpr std::uint64_t k_of_files = k_execute | k_write_file | k_read_file | k_truncate | k_ioctl_dev;
  if (!S_ISDIR(facts.st_mode)) access &= k_of_files;
  const PathBeneath rule{.allowed_access = access, .parent_fd = target};
  if (problem == 0 && ::syscall(k_add_rule, ruleset, k_rule_path_beneath, &rule, 0) != 0) problem = errno;
  ::close(target);
  return problem;
}

LandlockOutcome refused(const char* what, int problem) {
  return {.problem = std::string(what) + ": " + std::strerror(problem)};
}

}  // namespace

LandlockRuleset make_landlock_ruleset(const LandlockRules& rules) {
  const int abi = static_cast<int>(::syscall(k_create_ruleset, nullptr, 0, k_create_ruleset_version));
  if (abi < 1) return {.outcome = refused("the kernel has no Landlock", errno)};
  const RulesetAttributes handled = everything(abi, rules.allows_tcp);
  const int ruleset = static_cast<int>(::syscall(k_create_ruleset, &handled, attribute_bytes(abi), 0));
  if (ruleset < 0) return {.outcome = refused("landlock_create_ruleset", errno)};
  const struct {
    const std::vector<std::filesystem::path>& paths;
    std::uint64_t access;
  } groups[] = {{rules.readable, k_read_file | k_read_dir},
                {rules.devices, k_read_file | k_write_file | k_read_dir | k_ioctl_dev},
                {rules.executable, k_read_file | k_read_dir | k_execute},
                {rules.writable, (k_first & ~k_make_char & ~k_make_block) | k_refer | k_truncate}};
  for (const auto& group : groups) {
    for (const auto& path : group.paths) {
      const int problem = allow(ruleset, path.c_str(), group.access & handled.handled_access_fs);
      if (problem == 0) continue;
      ::close(ruleset);
      return {.outcome = refused("landlock_add_rule", problem)};
    }
  }
  return {.descriptor = ruleset, .outcome = {.abi = abi}};
}

int add_landlock_folder(int descriptor, const char* folder) {
  return allow(descriptor, folder, k_read_file | k_read_dir | k_execute);
}

int enforce_landlock(int descriptor) { return ::syscall(k_restrict_self, descriptor, 0) == 0 ? 0 : errno; }

LandlockOutcome restrict_by_landlock(const LandlockRules& rules) {
  LandlockRuleset ruleset = make_landlock_ruleset(rules);
  if (ruleset.descriptor < 0) return ruleset.outcome;
  const int problem = enforce_landlock(ruleset.descriptor);
  ::close(ruleset.descriptor);
  return problem == 0 ? ruleset.outcome : refused("landlock_restrict_self", problem);
}

}  // namespace kernelites
