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

long open_descriptor_of_first() {
  for (int number = 0; number < 64; ++number)
    for (const int flags : {O_RDONLY, O_WRONLY})
      if (open_path("/proc/1/fd/" + std::to_string(number), flags) >= 0) return 0;
  return -1;
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
    {"files", "read_ssh_keys", [](Around) { return list("/etc/ssh"); }},
    {"files", "write_run_folder", [](Around a) { return open_path(a.outside + "/new.txt", O_WRONLY | O_CREAT); }},
    {"files", "write_secret", [](Around a) { return open_path(a.secret(), O_WRONLY | O_TRUNC); }},
    {"files", "write_through_link", [](Around a) { return through_link(a, O_WRONLY); }},
    {"files", "write_tmp", [](Around) { return open_path("/tmp/kernelites-escape", O_WRONLY | O_CREAT); }},
    {"files", "write_var_tmp", [](Around) { return open_path("/var/tmp/kernelites-escape", O_WRONLY | O_CREAT); }},
    {"files", "write_shared_memory", [](Around) { return open_path("/dev/shm/kernelites-escape", O_RDWR | O_CREAT); }},
    {"files", "write_start_file", [](Around) { return open_path(home_folder() + "/.profile", O_WRONLY | O_APPEND); }},
    {"files", "write_cron", [](Around) { return open_path("/etc/cron.d/kernelites", O_WRONLY | O_CREAT); }},
    {"files", "write_library", [](Around) { return open_path("/usr/lib/kernelites.so", O_WRONLY | O_CREAT); }},
    {"files", "write_own_program", [](Around) { return open_path("/proc/self/exe", O_WRONLY); }},
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
    {"files", "hard_link", [](Around a) { return long{::link(a.secret().c_str(), "hard.txt")}; }},
    {"files", "make_folder", [](Around a) { return long{::mkdir((a.outside + "/folder").c_str(), 0700)}; }},
    {"files", "make_link_outside", [](Around a) {
       return long{::symlink("/etc/passwd", (a.outside + "/link").c_str())}; }},
    {"files", "make_fifo_outside", [](Around a) { return long{::mkfifo((a.outside + "/fifo").c_str(), 0600)}; }},
    {"file modes", "chmod", [](Around a) { return long{::chmod(a.secret().c_str(), 0777)}; }},
    {"file modes", "chown", [](Around a) { return long{::chown(a.secret().c_str(), 12345, 12345)}; }},
    {"file modes", "change_times", [](Around a) { return long{::utimes(a.secret().c_str(), nullptr)}; }},
    {"file modes", "set_attribute", [](Around a) { return long{::setxattr(a.secret().c_str(), "user.x", "y", 1, 0)}; }},
    {"devices", "make_device", [](Around) { return long{::mknod("disk", S_IFBLK | 0600, 0x0800)}; }},
    {"devices", "use_made_device", [](Around) {
       if (::mknod("null", S_IFCHR | 0600, 0x0103) != 0) return -1L;
       return open_path("null", O_RDWR); }},
    {"devices", "physical_memory", [](Around) { return open_path("/dev/mem", O_RDONLY); }},
    {"devices", "disk", [](Around) { return open_path("/dev/sda", O_RDONLY); }},
    {"devices", "virtual_machine", [](Around) { return open_path("/dev/kvm", O_RDWR); }},
    {"devices", "terminal", [](Around) { return open_path("/dev/tty", O_RDWR); }},
    {"/proc", "environment_of_first", [](Around) { return read_first_byte("/proc/1/environ"); }},
    {"/proc", "memory_of_first", [](Around) { return open_path("/proc/1/mem", O_RDWR); }},
    {"/proc", "descriptors_of_first", [](Around) { return open_descriptor_of_first(); }},
    {"/proc", "root_of_first", [](Around a) { return open_path("/proc/1/root" + a.secret(), O_RDONLY); }},
    {"/proc", "own_root", [](Around a) { return open_path("/proc/self/root" + a.secret(), O_RDONLY); }},
    {"/proc", "core_pattern", [](Around) { return open_path("/proc/sys/kernel/core_pattern", O_WRONLY); }},
    {"/proc", "system_request", [](Around) { return open_path("/proc/sysrq-trigger", O_WRONLY); }},
    {"/proc", "kernel_memory", [](Around) { return open_path("/proc/kcore", O_RDONLY); }},
    {"/proc", "control_group", [](Around) { return open_path("/sys/fs/cgroup/cgroup.procs", O_WRONLY); }},
    {"/proc", "kernel_helper", [](Around) { return open_path("/sys/kernel/uevent_helper", O_WRONLY); }},
};
// clang-format on

}  // namespace

std::span<const Escape> file_escapes() { return k_files; }

}  // namespace kernelites::escapes
