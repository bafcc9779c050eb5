// SPDX-License-Identifier: Apache-2.0
// Entry point of the sandbox tests, which start this program again in the roles below.
#include <dirent.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "engine/core/error.h"
#include "evaluators/worker/sandbox/child.h"
#include "evaluators/worker/sandbox/jail.h"
#include "tests/support/run_catch.h"
#include "tests/unit/sandbox/jail_attempts.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

int reply(Channel& channel, Json body) {
  Message message;
  message.body = std::move(body);
  return channel.send(message, 10) ? 0 : 1;
}

int echo(Channel& channel) {
  while (auto message = channel.receive(30))
    if (!channel.send(*message, 30)) return 1;
  return channel.status() == ChannelStatus::closed ? 0 : 1;
}

int spin(Channel& channel) {
  if (reply(channel, "spinning") != 0) return 1;
  for (volatile bool is_running = true; is_running;) {
  }
  return 0;
}

int crash(Channel&) {
  *reinterpret_cast<volatile int*>(std::uintptr_t{8}) = 1;
  return 0;
}

int code_3(Channel&) { return 3; }

int failing(Channel&) { throw Error("this role fails"); }

int print(Channel&) {
  std::printf("printed by a child\n");
  return 0;
}

/// What a child finds when it starts.
int surroundings(Channel& channel) {
  Json found{{"descriptors", Json::array()}};
  found["environment_is_empty"] = std::ifstream("/proc/self/environ").get() == std::char_traits<char>::eof();
  DIR* folder = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(folder))
    if (entry->d_name[0] != '.' && std::atoi(entry->d_name) != ::dirfd(folder))
      found["descriptors"].push_back(std::atoi(entry->d_name));
  ::closedir(folder);
  found["session"] = ::getsid(0) == ::getpid();
  return reply(channel, found);
}

/// Leaves a process of its own behind and says which.
int abandon(Channel& channel) {
  const pid_t left = ::fork();
  if (left == 0) {
    ::pause();
    std::_Exit(0);
  }
  return reply(channel, left);
}

/// Starts a child of its own, says which, and waits to be killed.
int parent(Channel& channel) {
  Child child = Child::start("spin", {.open_files = 64});
  if (reply(channel, child.pid()) != 0) return 1;
  ::pause();
  return 0;
}

int allocate(Channel& channel) {
  const bool is_given = ::mmap(nullptr, std::size_t{4} << 30, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED;
  return reply(channel, is_given);
}

/// Enters a jail, reports, then attempts what it is told to.
int jailed(Channel& channel, const JailPolicy& policy) {
  const JailReport report = enter_jail(policy);
  if (reply(channel, {{"is_sufficient", report.is_sufficient()},
                      {"landlock_abi", report.landlock_abi},
                      {"covers", report.landlock_covers_process},
                      {"has_root", report.has_root},
                      {"has_closed_files", report.has_closed_files()},
                      {"describe", report.describe()}}) != 0)
    return 1;
  while (const auto message = channel.receive(30))
    if (reply(channel, attempt(message->body.get<std::string>())) != 0) return 1;
  return 0;
}

/// A folder of headers that every machine which builds this has.
JailPolicy headers_only() { return compile_jail({"/usr/include"}); }
int jailed_compile(Channel& channel) { return jailed(channel, headers_only()); }
int jailed_compile_without_landlock(Channel& channel) {
  JailPolicy policy = headers_only();
  policy.wants_landlock = false;
  return jailed(channel, policy);
}
int jailed_compile_without_root(Channel& channel) {
  JailPolicy policy = headers_only();
  policy.root.clear();
  return jailed(channel, policy);
}
int jailed_compile_weakly(Channel& channel) {
  JailPolicy policy = headers_only();
  policy.root.clear();
  policy.wants_landlock = false;
  return jailed(channel, policy);
}
int jailed_vgpu(Channel& channel) { return jailed(channel, vgpu_jail()); }
int jailed_gpu(Channel& channel) { return jailed(channel, gpu_jail()); }

constexpr ChildRole k_roles[] = {
    {"echo", echo},
    {"spin", spin},
    {"crash", crash},
    {"code_3", code_3},
    {"failing", failing},
    {"print", print},
    {"abandon", abandon},
    {"parent", parent},
    {"surroundings", surroundings},
    {"allocate", allocate},
    {"jailed_vgpu", jailed_vgpu},
    {"jailed_compile", jailed_compile},
    {"jailed_compile_without_landlock", jailed_compile_without_landlock},
    {"jailed_compile_without_root", jailed_compile_without_root},
    {"jailed_compile_weakly", jailed_compile_weakly},
    {"jailed_gpu", jailed_gpu},
};

}  // namespace

int main(int argc, char** argv) {
  run_child_role(argc, argv, k_roles);
  return run_catch(argc, argv);
}
