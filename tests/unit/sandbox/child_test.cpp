// SPDX-License-Identifier: Apache-2.0
// Children: how they start, how they are killed and reaped, and what they do not inherit.
#include "evaluators/worker/sandbox/child.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

#include "engine/core/error.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// The first message of a child in `role`.
Json first_reply(Child& child) {
  auto message = child.channel().receive(20);
  REQUIRE(message);
  return message->body;
}

/// Runs `role` to its end.
ChildEnd end_of(const std::string& role, const ChildLimits& limits = {}) {
  Child child = Child::start(role, limits);
  const auto end = child.wait(20);
  REQUIRE(end);
  return *end;
}

/// A process that is there and no zombie that its new parent has yet to reap.
bool is_alive(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stat, text);
  const auto state = text.rfind(") ");
  return state != std::string::npos && text[state + 2] != 'Z';
}

bool is_gone_within(pid_t pid, double seconds) {
  for (int i = 0; i < seconds * 100; ++i) {
    if (!is_alive(pid)) return true;
    ::usleep(10'000);
  }
  return false;
}

}  // namespace

TEST_CASE("a child answers over its channel and exits when the channel closes") {
  Child child = Child::start("echo", {});
  Message message;
  message.body = {{"value", 7}};
  REQUIRE(child.channel().send(message, 10));
  CHECK(first_reply(child)["value"] == 7);
  { const Channel closed = std::move(child.channel()); }
  const auto end = child.wait(10);
  REQUIRE(end);
  CHECK(end->is_clean());
  CHECK(end->words == "exit 0");
}

TEST_CASE("a descriptor travels to a child and back") {
  Child child = Child::start("echo", {});
  Message message;
  message.descriptors.emplace_back(::memfd_create("test", MFD_CLOEXEC));
  REQUIRE(::write(message.descriptors[0].get(), "x", 1) == 1);
  REQUIRE(child.channel().send(message, 10));
  const auto back = child.channel().receive(10);
  REQUIRE(back);
  REQUIRE(back->descriptors.size() == 1);
  CHECK(::lseek(back->descriptors[0].get(), 0, SEEK_END) == 1);
}

TEST_CASE("a spinning child is killed at the deadline and reaped") {
  Child child = Child::start("spin", {});
  first_reply(child);
  CHECK_FALSE(child.wait(0.05));
  child.kill();
  const auto end = child.wait(10);
  REQUIRE(end);
  CHECK(end->signal == SIGKILL);
  CHECK(end->words == "killed by signal 9 (Killed)");
  CHECK_FALSE(is_alive(child.pid()));
}

TEST_CASE("a crash is named") {
  const ChildEnd end = end_of("crash");
  CHECK_FALSE(end.is_clean());
  CHECK(end.words.find("exit") == std::string::npos);
#ifndef __SANITIZE_ADDRESS__
  CHECK(end.words == "killed by signal 11 (Segmentation fault)");
#endif
}

TEST_CASE("an exit code is named") { CHECK(end_of("code_3").words == "exit 3"); }

TEST_CASE("an exception that leaves a role aborts the child") {
  CHECK(end_of("failing").words == "killed by signal 6 (Aborted)");
}

TEST_CASE("a role that does not exist has its own exit code") {
  CHECK(end_of("nothing").exit_code == k_exit_unknown_role);
}

TEST_CASE("a program that does not exist is run trouble") {
  std::string problem;
  try {
    Child::start("echo", {}, "/nonexistent/program");
  } catch (const Error& error) {
    problem = error.what();
  }
  CHECK(problem == "cannot run /nonexistent/program: No such file or directory");
}

TEST_CASE("a child that runs out of processor time is ended") {
  CHECK(end_of("spin", {.cpu_s = 1}).signal == SIGXCPU);
}

#ifndef __SANITIZE_ADDRESS__
TEST_CASE("a child cannot map more than its address space") {
  Child free_child = Child::start("allocate", {});
  CHECK(first_reply(free_child) == true);
  Child limited = Child::start("allocate", {.address_space_bytes = std::uint64_t{1} << 30});
  CHECK(first_reply(limited) == false);
}
#endif

TEST_CASE("a child starts with an empty environment, its own session and no foreign descriptors") {
  const int inherited = ::open("/dev/null", O_RDONLY);  // not close-on-exec
  REQUIRE(std::ifstream("/proc/self/environ").get() != std::char_traits<char>::eof());
  Child child = Child::start("surroundings", {});
  const Json found = first_reply(child);
  CHECK(found["environment_is_empty"] == true);
  CHECK(found["session"] == true);
  CHECK(found["descriptors"] == Json({0, 1, 2, 3, 4}));  // null, stderr twice, channel, lifeline
  ::close(inherited);
}

TEST_CASE("what a child prints does not reach stdout") {
  std::fflush(stdout);
  const int kept = ::dup(1), kept_errors = ::dup(2);
  const int output = ::memfd_create("stdout", 0), errors = ::memfd_create("stderr", 0);
  ::dup2(output, 1);
  ::dup2(errors, 2);
  const auto end = Child::start("print", {.file_bytes = 1 << 20}).wait(20);
  ::dup2(kept, 1);
  ::dup2(kept_errors, 2);
  CHECK(end);
  CHECK(::lseek(output, 0, SEEK_END) == 0);
  CHECK(::lseek(errors, 0, SEEK_END) == 19);
  for (const int fd : {kept, kept_errors, output, errors}) ::close(fd);
}

TEST_CASE("the destructor kills and reaps") {
  pid_t pid = -1;
  {
    Child child = Child::start("spin", {});
    first_reply(child);
    pid = child.pid();
  }
  CHECK_FALSE(is_alive(pid));
}

TEST_CASE("a process that a child left behind is killed with it") {
  Child child = Child::start("abandon", {});
  const auto left = first_reply(child).get<pid_t>();
  REQUIRE(child.wait(10));
  CHECK(is_gone_within(left, 5));
}

TEST_CASE("a child dies with its parent") {
  Child parent = Child::start("parent", {});
  const auto grandchild = first_reply(parent).get<pid_t>();
  REQUIRE(is_alive(grandchild));
  ::kill(parent.pid(), SIGKILL);  // not Child::kill: the grandchild is in a session of its own
  REQUIRE(parent.wait(10));
  CHECK(is_gone_within(grandchild, 5));
}

TEST_CASE("a child outlives the thread that started it") {
  std::optional<Child> child;
  std::thread([&] { child = Child::start("echo", {}); }).join();
  CHECK_FALSE(child->wait(0.1));
  Message message;
  message.body = "still there";
  REQUIRE(child->channel().send(message, 10));
  CHECK(first_reply(*child) == "still there");
}

TEST_CASE("children started from many threads at once all answer and end") {
  std::vector<std::thread> threads;
  std::vector<int> codes(8, -1);
  for (std::size_t i = 0; i < codes.size(); ++i)
    threads.emplace_back([&codes, i] {
      Child child = Child::start("surroundings", {});
      if (child.channel().receive(20))
        if (const auto end = child.wait(20)) codes[i] = end->exit_code;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(codes == std::vector<int>(8, 0));
}
