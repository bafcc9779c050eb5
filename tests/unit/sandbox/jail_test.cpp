// SPDX-License-Identifier: Apache-2.0
// The jail from inside: what is denied, what kills, what still works, and that the report says so.
#include "evaluators/worker/sandbox/jail.h"

#include <cerrno>
#include <csignal>
#include <string>

#include "evaluators/worker/sandbox/child.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// A child that has entered its jail and attempts what it is told to.
class Prisoner {
 public:
  explicit Prisoner(const std::string& role) : child_(Child::start(role, {.open_files = 64})) {
    auto message = child_.channel().receive(20);
    REQUIRE(message);
    report = message->body;
  }

  /// errno of the attempt, 0 if it succeeded; nothing if it killed the child.
  std::optional<int> attempt(const std::string& what) {
    Message message;
    message.body = what;
    REQUIRE(child_.channel().send(message, 20));
    auto answer = child_.channel().receive(20);
    if (!answer) return std::nullopt;
    return answer->body.get<int>();
  }
  std::string end() {
    const auto end = child_.wait(20);
    return end ? end->words : "still running";
  }

  Json report;

 private:
  Child child_;
};

void check_killed(const std::string& role, const std::string& what) {
  INFO(role << ": " << what);
  Prisoner prisoner(role);
  CHECK_FALSE(prisoner.attempt(what));
  CHECK(prisoner.end() == "killed by signal 31 (Bad system call)");
}

void check_denied(const std::string& role, const std::string& what) {
  INFO(role << ": " << what);
  Prisoner prisoner(role);
  const auto error = prisoner.attempt(what);
  REQUIRE(error);
  CHECK((*error == EPERM || *error == EACCES));
}

const std::string k_jails[] = {"jailed_compile", "jailed_vgpu", "jailed_gpu"};

}  // namespace

TEST_CASE("every jail reports that the least it needs is in force") {
  for (const std::string& role : k_jails) {
    const Prisoner prisoner(role);
    INFO(role << ": " << prisoner.report["describe"].get<std::string>());
    CHECK(prisoner.report["is_sufficient"] == true);
    CHECK(prisoner.report["describe"].get<std::string>().find("no_new_privs, rlimits, seccomp") == 0);
    if (prisoner.report["landlock_abi"] > 0) CHECK(prisoner.report["covers"] == true);
  }
}

TEST_CASE("no jail lets a file be created, removed or read outside its folders") {
  for (const std::string& role : k_jails) {
    for (const char* what : {"write_file", "write_allowed", "unlink"}) check_denied(role, what);
    if (Prisoner(role).report["landlock_abi"] > 0) check_denied(role, "open_passwd");
  }
}

TEST_CASE("the vgpu jail reads no file at all, with or without Landlock") {
  check_denied("jailed_vgpu", "open_passwd");
  check_denied("jailed_vgpu", "open_allowed");
}

TEST_CASE("the compile jail reads the system's libraries") {
  CHECK(Prisoner("jailed_compile").attempt("open_allowed") == 0);
}

TEST_CASE("no jail opens a socket") {
  for (const std::string& role : k_jails)
    for (const char* what : {"socket", "local_socket"}) check_denied(role, what);
}

TEST_CASE("no jail starts a process or signals another") {
  for (const std::string& role : k_jails)
    for (const char* what : {"fork", "kill_parent"}) check_denied(role, what);
}

TEST_CASE("exec and ptrace kill the prisoner") {
  for (const std::string& role : k_jails)
    for (const char* what : {"exec", "ptrace"}) check_killed(role, what);
}

TEST_CASE("threads still start in every jail") {
  for (const std::string& role : k_jails) CHECK(Prisoner(role).attempt("thread") == 0);
}

TEST_CASE("memory files exist for virtual GPUs and not for compilers") {
  CHECK(Prisoner("jailed_vgpu").attempt("memory_file") == 0);
  check_denied("jailed_compile", "memory_file");
}

TEST_CASE("only the gpu jail controls devices, and no jail types into a terminal") {
  CHECK(Prisoner("jailed_gpu").attempt("device_control") ==
        EBADF);  // it went through, to a file that is not open
  check_denied("jailed_compile", "device_control");
  for (const std::string& role : k_jails) CHECK(Prisoner(role).attempt("type_into_terminal") == EPERM);
}
