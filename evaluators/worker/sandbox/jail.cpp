// SPDX-License-Identifier: Apache-2.0
// Entering a jail: the layers in order, each reported; and the policies of the three sorts of children.
#include "evaluators/worker/sandbox/jail.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/core/error.h"
#include "engine/jail/landlock.h"
#include "evaluators/worker/sandbox/system_call_filter.h"

namespace kernelites::worker {
namespace {

bool is_limited(__rlimit_resource resource) {
  rlimit limit{};
  return ::getrlimit(resource, &limit) == 0 && limit.rlim_max != RLIM_INFINITY;
}

/// Files can only grow where they can be written at all: memory files, or what a policy lets be opened for
/// writing.
bool verify_limits(const JailPolicy& policy, std::vector<std::string>& missing) {
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0) missing.emplace_back("rlimits: core dumps cannot be turned off");
  const bool needs_memory_files_only = policy.allow_memory_files && !policy.allow_gpu_ioctl;
  if (!needs_memory_files_only && !is_limited(RLIMIT_FSIZE))
    missing.emplace_back("rlimits: the size of files is not limited");
  if (!is_limited(RLIMIT_NOFILE)) missing.emplace_back("rlimits: the number of open files is not limited");
  return missing.empty();
}

std::size_t thread_count() {
  std::error_code error;
  std::size_t count = 0;
  for (auto entry = std::filesystem::directory_iterator("/proc/self/task", error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error))
    ++count;
  return count;
}

/// Makes `root` this process's root, at need in a user namespace of its own, in which it may. Empty: done.
std::string change_root(const std::filesystem::path& root) {
  if (::chroot(root.c_str()) != 0) {
    if (::unshare(CLONE_NEWUSER) != 0) return std::string("no user namespace: ") + std::strerror(errno);
    if (::chroot(root.c_str()) != 0) return std::strerror(errno);
  }
  return ::chdir("/") == 0 ? "" : std::strerror(errno);
}

/// The deepest folder that all of `paths` lie in.
std::filesystem::path common_folder(const std::vector<std::filesystem::path>& paths) {
  std::filesystem::path common = paths.front();
  for (const std::filesystem::path& path : paths) {
    std::filesystem::path shared;
    for (auto a = common.begin(), b = path.begin(); a != common.end() && b != path.end() && *a == *b;
         ++a, ++b)
      shared /= *a;
    common = shared;
  }
  return common;
}

/// Where a dynamic program finds its libraries.
std::vector<std::filesystem::path> library_paths() {
  return {"/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache"};
}

}  // namespace

std::string JailReport::describe() const {
  std::string text;
  const auto add = [&text](const std::string& part, const char* separator) {
    text += (text.empty() ? "" : separator) + part;
  };
  if (has_no_new_privs) add("no_new_privs", ", ");
  if (has_rlimits) add("rlimits", ", ");
  if (has_seccomp) add("seccomp", ", ");
  if (landlock_abi > 0) add("landlock " + std::to_string(landlock_abi), ", ");
  if (has_root) add("root", ", ");
  for (const std::string& layer : missing) add("missing: " + layer, "; ");
  return text;
}

JailReport enter_jail(const JailPolicy& policy) {
  JailReport report;
  report.has_rlimits = verify_limits(policy, report.missing);
  report.has_no_new_privs = ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
  if (!report.has_no_new_privs)
    report.missing.push_back(std::string("no_new_privs: ") + std::strerror(errno));

  // Landlock before the filter, which does not let its system calls through.
  const std::size_t threads = thread_count();
  const LandlockOutcome landlock =
      policy.wants_landlock ? restrict_by_landlock({.readable = policy.readable, .devices = policy.devices})
                            : LandlockOutcome{.problem = "not wanted"};
  report.landlock_abi = landlock.abi;
  report.landlock_covers_process = landlock.abi > 0 && threads == 1;
  if (landlock.abi == 0)
    report.missing.push_back("landlock: " + landlock.problem);
  else if (threads != 1)
    report.missing.emplace_back("landlock: older threads are not covered");

  if (!policy.root.empty()) {
    const std::string refused = change_root(policy.root);
    report.has_root = refused.empty();
    if (!refused.empty()) report.missing.push_back("root: " + refused);
  }

  const std::string problem = load_system_call_filter(policy);
  report.has_seccomp = problem.empty();
  if (!problem.empty()) report.missing.push_back(problem);
  return report;
}

JailPolicy compile_jail(std::vector<std::filesystem::path> readable) {
  KERNELITES_ASSERT(!readable.empty());
  std::vector<std::filesystem::path> real;
  for (const auto& path : readable) {
    std::error_code problem;
    const auto resolved = std::filesystem::canonical(path, problem);
    if (!problem) real.push_back(resolved);
  }
  JailPolicy policy{.readable = std::move(readable)};
  if (!real.empty()) policy.root = common_folder(real);
  // A level higher, so that messages still call a header's folder by its name, unless that shows the whole system.
  const auto above = policy.root.parent_path();
  const bool is_system = above == "/" || above == "/usr" || above == "/usr/local";
  if (policy.root.filename() == "include" && !is_system) policy.root = above;
  return policy;
}

std::filesystem::path path_within(const std::filesystem::path& root, const std::filesystem::path& path) {
  std::error_code problem;
  const auto real = std::filesystem::canonical(path, problem);
  if (problem || root.empty()) return path;
  const auto inside = real.lexically_relative(root);
  if (inside.empty() || *inside.begin() == "..") return path;
  return inside == "." ? std::filesystem::path("/") : std::filesystem::path("/") / inside;
}

JailPolicy vgpu_jail() { return {.allow_memory_files = true}; }

JailPolicy gpu_jail() {
  JailPolicy policy{.readable = library_paths(), .allow_gpu_ioctl = true, .allow_memory_files = true};
  for (const char* path : {"/usr/local/nvidia", "/usr/local/cuda", "/proc", "/sys", "/etc/nvidia",
                           "/usr/share/nvidia", "/dev/zero", "/dev/urandom"})
    policy.readable.emplace_back(path);
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator("/dev", error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error))
    if (entry->path().filename().string().starts_with("nvidia")) policy.devices.push_back(entry->path());
  return policy;
}

}  // namespace kernelites::worker
