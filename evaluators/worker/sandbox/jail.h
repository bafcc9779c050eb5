// SPDX-License-Identifier: Apache-2.0
// The jail that a child puts itself into before it touches a candidate: what it cannot do any more, layer by
// layer.
//
// - no_new_privs and resource limits (`ChildLimits`, verified here);
// - seccomp: a list of system calls that are allowed. Everything else answers EPERM, because libraries probe
// for what
//   they can do without; what no honest child ever asks for (exec, ptrace, reading another process's memory,
//   namespaces, mounts, kernel interfaces) kills the process, so that an attempt has a name: signal 31;
// - Landlock, where the kernel has it: the only layer that knows paths. It covers the calling thread and
// those that
//   it starts later, so enter the jail before libraries start theirs;
// - a root of its own, where a policy names one and the system lets a process have it (as root, or in a user
//   namespace): what lies outside does not exist, not even for a question whether it does. It closes the file system
//   where the kernel has no Landlock.
// There is no network (no socket can be made; the channel is open already), no exec, no new process, no
// signal to others, no ptrace, no writing to files.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace kernelites::worker {

/// What a child still needs. Default: nothing but memory, threads, time and its open descriptors.
struct JailPolicy {
  std::vector<std::filesystem::path>
      readable;  ///< files and whole folders; those that do not exist are skipped
  std::vector<std::filesystem::path> devices;  ///< device files that may be opened for writing and ioctl
  bool allow_gpu_ioctl = false;                ///< ioctl and read-write open: what the CUDA driver lives on
  bool allow_memory_files = false;             ///< memfd_create: shared memory of the virtual GPU
  std::filesystem::path root;  ///< becomes "/", if not empty; `readable` names paths as of before
  bool wants_landlock = true;  ///< false: as on a kernel that has none (tests)
};

/// Which layers are in force.
struct JailReport {
  bool has_no_new_privs = false;
  bool has_rlimits = false;  ///< no core dumps, open files limited, file size limited
  bool has_seccomp = false;
  int landlock_abi = 0;                  ///< 0: the kernel has no Landlock
  bool landlock_covers_process = false;  ///< false: threads that existed before are not covered
  bool has_root = false;                 ///< the policy's root is in force
  std::vector<std::string> missing;      ///< one sentence per layer that is not in force, and why

  /// The least that evaluation may run with: limits, no new privileges and seccomp.
  bool is_sufficient() const { return has_no_new_privs && has_rlimits && has_seccomp; }
  /// Whether no file can be opened but those that the policy names: what a compile needs besides.
  bool has_closed_files() const { return landlock_covers_process || has_root; }
  /// "no_new_privs, rlimits, seccomp, landlock 7"; missing layers follow.
  std::string describe() const;
};

/// Enters the jail; there is no way back. REQUIRES: called once, in a child. Throws nothing: what could not
/// be put in force is missing in the report, and the caller refuses to go on unless `is_sufficient()`.
JailReport enter_jail(const JailPolicy& policy);

/// Policy of a compile child that has loaded its libraries: reads the folders `readable`, which hold headers, and
/// nothing else; what they have in common becomes the root.
JailPolicy compile_jail(std::vector<std::filesystem::path> readable);
/// `path` as it is called once `root` is "/"; unchanged if it does not lie in there.
std::filesystem::path path_within(const std::filesystem::path& root, const std::filesystem::path& path);
/// Policy of a child with a virtual GPU: no files at all.
JailPolicy vgpu_jail();
/// Policy of a child with a CUDA context: system libraries, /proc, /sys, and the driver's device files.
JailPolicy gpu_jail();

}  // namespace kernelites::worker
