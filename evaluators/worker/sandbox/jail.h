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
//   it starts later, so enter the jail before libraries start theirs.
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
};

/// Which layers are in force.
struct JailReport {
  bool has_no_new_privs = false;
  bool has_rlimits = false;  ///< no core dumps, open files limited, file size limited
  bool has_seccomp = false;
  int landlock_abi = 0;                  ///< 0: the kernel has no Landlock
  bool landlock_covers_process = false;  ///< false: threads that existed before are not covered
  std::vector<std::string> missing;      ///< one sentence per layer that is not in force, and why

  /// The least that evaluation may run with: limits, no new privileges and seccomp.
  bool is_sufficient() const { return has_no_new_privs && has_rlimits && has_seccomp; }
  /// "no_new_privs, rlimits, seccomp, landlock 7"; missing layers follow.
  std::string describe() const;
};

/// Enters the jail; there is no way back. REQUIRES: called once, in a child. Throws nothing: what could not
/// be put in force is missing in the report, and the caller refuses to go on unless `is_sufficient()`.
JailReport enter_jail(const JailPolicy& policy);

/// Policy of a compile child: reads the toolkit's headers and libraries and `readable`.
JailPolicy compile_jail(std::vector<std::filesystem::path> readable);
/// Policy of a child with a virtual GPU: no files at all.
JailPolicy vgpu_jail();
/// Policy of a child with a CUDA context: system libraries, /proc, /sys, and the driver's device files.
JailPolicy gpu_jail();

}  // namespace kernelites::worker
