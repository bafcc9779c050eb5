// SPDX-License-Identifier: Apache-2.0
// The jail from inside: what is denied, what kills, what still works, and that the report says so.
#include "evaluators/worker/sandbox/jail.h"

#include <cerrno>
#include <csignal>
#include <string>

#include "evaluators/worker/sandbox/child.h"
#include "tests/support/catch.h"
#include "tests/unit/sandbox/jail_attempts.h"

using namespace kernelites;
using namespace kernelites::worker;

namespace {

/// A child that has entered its jail and attempts what it is told to.
class Prisoner {
 public:
  explicit Prisoner(const std::string& role, const ChildLimits& limits = {.open_files = 64})
      : child_(Child::start(role, limits)) {
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

/// That a file does not exist is as good an answer as that it may not be opened.
void check_denied(const std::string& role, const std::string& what) {
  INFO(role << ": " << what);
  Prisoner prisoner(role);
  const auto error = prisoner.attempt(what);
  REQUIRE(error);
  INFO("errno " << *error);
  CHECK((*error == EPERM || *error == EACCES || *error == ENOSYS || *error == ENOENT));
}

const std::string k_jails[] = {"jailed_compile", "jailed_compile_without_landlock",
                               "jailed_compile_without_root", "jailed_vgpu", "jailed_gpu"};

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

TEST_CASE("an attacking child is denied or killed in every jail, whatever it attempts") {
  for (const std::string& role : k_jails) {
    for (const Attempt& known : k_attempts) {
      if (known.fate == Fate::denied) check_denied(role, std::string(known.name));
      if (known.fate == Fate::killed) check_killed(role, std::string(known.name));
    }
  }
}

TEST_CASE("the vgpu jail reads no file at all, with or without Landlock") {
  for (const char* what : {"open_passwd", "open_library", "open_header", "open_environment", "open_memory",
                           "open_parent_memory", "look_at_passwd"})
    check_denied("jailed_vgpu", what);
}

TEST_CASE("a compile jail reads the headers that it was given, and nothing else") {
  for (const std::string role :
       {"jailed_compile", "jailed_compile_without_landlock", "jailed_compile_without_root"}) {
    const Prisoner prisoner(role);
    INFO(role << ": " << prisoner.report["describe"].get<std::string>());
    REQUIRE(prisoner.report["has_closed_files"] == true);
    for (const char* what :
         {"open_passwd", "open_library", "open_environment", "open_memory", "open_parent_memory"})
      check_denied(role, what);
    const bool has_root = prisoner.report["has_root"];
    CHECK(Prisoner(role).attempt(has_root ? "open_header_inside" : "open_header") == 0);
  }
}

TEST_CASE("with a root of its own, a compile cannot even ask whether a file exists") {
  check_denied("jailed_compile", "look_at_passwd");
  check_denied("jailed_compile_without_landlock", "look_at_passwd");
}

TEST_CASE("a jail that leaves files open says so") {
  const Prisoner prisoner("jailed_compile_weakly");
  CHECK(prisoner.report["has_closed_files"] == false);
  CHECK(prisoner.report["is_sufficient"] == true);
  CHECK(prisoner.report["describe"].get<std::string>().find("missing: landlock") != std::string::npos);
}

TEST_CASE("a child finds no descriptor but its channel and lifeline, and cannot write to the latter") {
  for (const std::string& role : k_jails) {
    CHECK(Prisoner(role).attempt("write_inherited") != 0);
    CHECK(Prisoner(role).attempt("write_lifeline") != 0);
  }
}

TEST_CASE("a jailed child takes no more memory than its limit") {
  for (const std::string& role : k_jails) {
    Prisoner limited(role, {.address_space_bytes = std::uint64_t{4} << 30, .open_files = 64});
    CHECK(limited.attempt("much_memory") == ENOMEM);
  }
}

TEST_CASE("threads still start in every jail") {
  for (const std::string& role : k_jails) CHECK(Prisoner(role).attempt("thread") == 0);
}

TEST_CASE("memory files exist for virtual GPUs and not for compilers") {
  CHECK(Prisoner("jailed_vgpu").attempt("memory_file") == 0);
  check_denied("jailed_compile", "memory_file");
}

TEST_CASE("only the gpu jail controls devices") {
  CHECK(Prisoner("jailed_gpu").attempt("device_control") ==
        EBADF);  // it went through, to a file that is not open
  check_denied("jailed_compile", "device_control");
}
