// SPDX-License-Identifier: Apache-2.0
// Reading, writing and changing files that are not the agent's.
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "tests/escapes/escape_attempts.h"

namespace kernelites::escapes {

long open_path(const std::string& path, int flags) { return ::open(path.c_str(), flags | O_CLOEXEC, 0600); }

namespace {

using Around = const Surroundings&;

long list(const std::string& folder) {
  DIR* const stream = ::opendir(folder.c_str());
  if (stream == nullptr) return -1;
  int entries = 0;
  while (const dirent* entry = ::readdir(stream)) entries += entry->d_name[0] != '.' ? 1 : 0;
  ::closedir(stream);
  return entries > 0 ? 0 : -1;
}

std::string proc_of_first(Around around, const std::string& name) {
  return "/proc/" + std::to_string(around.first) + "/" + name;
}

long open_descriptor_of_first(Around around) {
  for (int number = 0; number < 64; ++number)
    for (const int flags : {O_RDONLY, O_WRONLY})
      if (open_path(proc_of_first(around, "fd/" + std::to_string(number)), flags) >= 0) return 0;
  return -1;
}

long make_node(const char* name, mode_t kind, dev_t device) {
  ::unlink(name);
  return ::mknod(name, kind | 0600, device);
}

long read_first_byte(const std::string& path) {
  char byte = 0;
  const long file = open_path(path, O_RDONLY);
  return file < 0 ? -1 : ::read(static_cast<int>(file), &byte, 1) == 1 ? 0 : -1;
}

long through_link(Around around, int flags) {
  ::unlink("link");
  if (::symlink(around.secret().c_str(), "link") != 0) return -1;
  return open_path("link", flags);
}

std::string home_folder() {
  const passwd* const user = ::getpwuid(::getuid());
  return user != nullptr && std::string(user->pw_dir) != "/" ? user->pw_dir : "/root";
}

// clang-format off
constexpr Escape k_files[] = {
    {"files", "read_secret", [](Around a) { return open_path(a.secret(), O_RDONLY); }},
    {"files", "read_above", [](Around) { return open_path("../secret.txt", O_RDONLY); }},
    {"files", "read_through_link", [](Around a) { return through_link(a, O_RDONLY); }},
    {"files", "read_by_descriptor_of_root", [](Around a) {
       const long root = ::open("/", O_PATH);
       return root < 0 ? -1L : long{::openat(static_cast<int>(root), a.secret().c_str() + 1, O_RDONLY)}; }},
    {"files", "openat2", [](Around a) {
       open_how how{};
       return ::syscall(SYS_openat2, AT_FDCWD, a.secret().c_str(), &how, sizeof how); }},
    {"files", "reopen_path_descriptor", [](Around a) {
       const int path = ::open(a.secret().c_str(), O_PATH);
       return path < 0 ? -1L : open_path("/proc/self/fd/" + std::to_string(path), O_RDONLY); }},
    {"files", "file_handle", [](Around a) {
       alignas(file_handle) char bytes[256]{};
       int mount = 0;
       reinterpret_cast<file_handle*>(bytes)->handle_bytes = 128;
       return ::syscall(SYS_name_to_handle_at, AT_FDCWD, a.secret().c_str(), bytes, &mount, 0); }},
    {"files", "list_run_folder", [](Around a) { return list(a.outside); }},
    {"files", "list_home", [](Around) { return list(home_folder()); }},
    {"files", "list_tmp", [](Around) { return list("/tmp"); }},
    {"files", "read_shadow", [](Around) { return open_path("/etc/shadow", O_RDONLY); }},
    {"files", "list_certificates", [](Around) { return list("/etc/ssl/private"); }, "it is empty on many machines"},
    {"files", "write_run_folder", [](Around a) { return open_path(a.outside + "/new.txt", O_WRONLY | O_CREAT); }},
    {"files", "write_secret", [](Around a) { return open_path(a.secret(), O_WRONLY | O_TRUNC); }},
    {"files", "write_through_link", [](Around a) { return through_link(a, O_WRONLY); }},
    {"files", "write_tmp", [](Around) { return open_path("/tmp/kernelites-escape", O_WRONLY | O_CREAT); }},
    {"files", "write_var_tmp", [](Around) { return open_path("/var/tmp/kernelites-escape", O_WRONLY | O_CREAT); }},
    {"files", "write_shared_memory", [](Around) { return open_path("/dev/shm/kernelites-escape", O_RDWR | O_CREAT); }},
    {"files", "write_start_file", [](Around) {
       return open_path(home_folder() + "/.profile", O_WRONLY | O_APPEND | O_CREAT); }},
    {"files", "write_settings", [](Around) { return open_path("/etc/kernelites-escape", O_WRONLY | O_CREAT); }},
    {"files", "write_library", [](Around) { return open_path("/usr/lib/kernelites.so", O_WRONLY | O_CREAT); }},
    {"files", "write_own_program", [](Around) { return open_path("/proc/self/exe", O_WRONLY); },
     "no program that runs can be written (ETXTBSY)"},
    {"files", "truncate", [](Around a) { return long{::truncate(a.secret().c_str(), 0)}; }},
    {"files", "unlink", [](Around a) { return long{::unlink(a.secret().c_str())}; }},
    {"files", "rename_in", [](Around a) { return long{::rename(a.secret().c_str(), "stolen.txt")}; }},
    {"files", "rename_out", [](Around a) {
       open_path("mine.txt", O_WRONLY | O_CREAT);
       return long{::rename("mine.txt", (a.outside + "/mine.txt").c_str())}; }},
    {"files", "exchange", [](Around a) {
       open_path("mine.txt", O_WRONLY | O_CREAT);
       constexpr int k_exchange = 2;
       return ::syscall(SYS_renameat2, AT_FDCWD, "mine.txt", AT_FDCWD, a.secret().c_str(), k_exchange); }},
    {"files", "hard_link", [](Around a) {
       ::unlink("hard.txt");
       return long{::link(a.secret().c_str(), "hard.txt")}; }},
    {"files", "make_folder", [](Around a) { return long{::mkdir((a.outside + "/folder").c_str(), 0700)}; }},
    {"files", "make_link_outside", [](Around a) {
       return long{::symlink("/etc/passwd", (a.outside + "/link").c_str())}; }},
    {"files", "make_fifo_outside", [](Around a) { return long{::mkfifo((a.outside + "/fifo").c_str(), 0600)}; }},
    {"file modes", "chmod", [](Around a) { return long{::chmod(a.secret().c_str(), 0777)}; }},
    {"file modes", "chown", [](Around a) { return long{::chown(a.secret().c_str(), 12345, 12345)}; }},
    {"file modes", "change_times", [](Around a) { return long{::utimes(a.secret().c_str(), nullptr)}; }},
    {"file modes", "set_attribute", [](Around a) { return long{::setxattr(a.secret().c_str(), "user.x", "y", 1, 0)}; }},
    {"devices", "make_disk", [](Around) { return make_node("disk", S_IFBLK, 0x0800); }},
    {"devices", "use_made_device", [](Around) {
       return make_node("null", S_IFCHR, 0x0103) != 0 ? -1L : open_path("null", O_RDWR); }},
    {"devices", "make_memory", [](Around) { return make_node("memory", S_IFCHR, 0x0101); }},
    {"devices", "pseudo_terminal", [](Around) { return open_path("/dev/ptmx", O_RDWR); }},
    {"devices", "read_kernel_messages", [](Around) { return open_path("/dev/kmsg", O_RDONLY); }},
    {"devices", "physical_memory", [](Around) { return open_path("/dev/mem", O_RDONLY); }, "few machines have it"},
    {"devices", "disk", [](Around) { return open_path("/dev/sda", O_RDONLY); }, "not every disk is called so"},
    {"devices", "virtual_machine", [](Around) { return open_path("/dev/kvm", O_RDWR); }, "not on every machine"},
    {"devices", "terminal", [](Around) { return open_path("/dev/tty", O_RDWR); }, "a run at night has none"},
    {"/proc", "environment_of_first", [](Around a) { return read_first_byte(proc_of_first(a, "environ")); }},
    {"/proc", "memory_of_first", [](Around a) { return open_path(proc_of_first(a, "mem"), O_RDWR); }},
    {"/proc", "descriptors_of_first", [](Around a) { return open_descriptor_of_first(a); }},
    {"/proc", "root_of_first", [](Around a) { return open_path(proc_of_first(a, "root") + a.secret(), O_RDONLY); }},
    {"/proc", "root_list_of_first", [](Around a) { return list(proc_of_first(a, "root")); }},
    {"/proc", "maps_of_first", [](Around a) { return read_first_byte(proc_of_first(a, "maps")); }},
    {"/proc", "score_of_first", [](Around a) { return open_path(proc_of_first(a, "oom_score_adj"), O_WRONLY); }},
    {"/proc", "own_root", [](Around a) { return open_path("/proc/self/root" + a.secret(), O_RDONLY); }},
    {"/proc", "core_pattern", [](Around) { return open_path("/proc/sys/kernel/core_pattern", O_WRONLY); }},
    {"/proc", "write_host_name", [](Around) { return open_path("/proc/sys/kernel/hostname", O_WRONLY); }},
    {"/proc", "program_loader", [](Around) { return open_path("/proc/sys/kernel/modprobe", O_WRONLY); },
     "only where the kernel has modules"},
    {"/proc", "system_request", [](Around) { return open_path("/proc/sysrq-trigger", O_WRONLY); },
     "only where the kernel has it"},
    {"/proc", "kernel_memory", [](Around) { return open_path("/proc/kcore", O_RDONLY); },
     "only where the kernel has it"},
    {"/proc", "control_group", [](Around) { return open_path("/sys/fs/cgroup/cgroup.procs", O_WRONLY); },
     "only where groups are of version 2"},
    {"/proc", "kernel_helper", [](Around) { return open_path("/sys/kernel/uevent_helper", O_WRONLY); },
     "few kernels have it"},
};
// clang-format on

}  // namespace

std::span<const Escape> file_escapes() { return k_files; }

}  // namespace kernelites::escapes
