// SPDX-License-Identifier: Apache-2.0
// A coding agent's jail, from outside: every attempt of the table is contained, and nothing is left of what was tried.
#include <fmt/format.h>
#include <poll.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "engine/jail/jailed_process.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
namespace fs = std::filesystem;

namespace {

constexpr const char* k_mark = "61235.25";
constexpr uid_t k_nobody = 65534;

std::string content(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Processes of the whole machine whose command line has the mark.
int sleepers() {
  int count = 0;
  for (const auto& entry : fs::directory_iterator("/proc"))
    count += content(entry.path() / "cmdline").find(k_mark) != std::string::npos;
  return count;
}

/// A run folder with a secret in it, the scratch folder of an agent, and a program that does as it is told.
struct Prison {
  Prison() {
    fs::create_directories(scratch());
    std::ofstream(secret()) << "the run's secret";
    ::chmod(secret().c_str(), 0600);
  }
  fs::path outside() const { return fs::canonical(folder.path()); }
  fs::path secret() const { return outside() / "secret.txt"; }
  fs::path scratch() const { return outside() / "scratch"; }
  /// Everything is `user`'s, as it is where that user runs the search.
  void give_to(uid_t user) const {
    for (const fs::path& path : {outside(), secret(), scratch()})
      REQUIRE(::chown(path.c_str(), user, user) == 0);
  }

  JailedCommand command(std::vector<std::string> words, bool has_network = true) const {
    const std::string program = KERNELITES_BUILD_DIR "/tests/escapes/escape_program";
    words.insert(words.begin(), program);
    return {.command = std::move(words),
            .environment = {{"PATH", "/usr/bin:/bin"}, {"HOME", scratch().string()}},
            .scratch = scratch(),
            .readable = {program},
            .allows_network = has_network};
  }
  JailedCommand attempts(bool has_network) const {
    return command({"attempts", outside().string(), has_network ? "network" : "closed"}, has_network);
  }
  TemporaryFolder folder;
};

/// What a program printed, and how it ended.
struct Told {
  std::string output, end;
};

Told run(const JailedCommand& command) {
  JailedProcess process(command);
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!process.has_ended() && std::chrono::steady_clock::now() < give_up) {
    std::vector<pollfd> descriptors;
    process.add_descriptors(descriptors);
    ::poll(descriptors.data(), descriptors.size(), 10);
    process.pump();
  }
  if (!process.has_ended()) return {process.output(), "still running"};
  return {process.output(), process.end().is_clean() ? "" : process.end().words()};
}

/// The same by a process that is nobody's, as a user without rights would: in a user namespace.
Told run_as_nobody(const JailedCommand& command) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(k_nobody) != 0 || ::setuid(k_nobody) != 0) ::_exit(1);
    ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // as a program is that was started by that user
    const Told told = run(command);
    const std::string text = told.end + '\n' + told.output;
    ::_exit(::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text(1 << 20, '\0');
  std::size_t size = 0;
  for (ssize_t more = 1; more > 0; size += static_cast<std::size_t>(std::max<ssize_t>(more, 0)))
    more = ::read(ends[0], text.data() + size, text.size() - size);
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  text.resize(size);
  const std::size_t line = std::min(text.find('\n'), text.size());
  return {text.substr(std::min(line + 1, text.size())), text.substr(0, line)};
}

void check_contained(const Prison& prison, const Told& told) {
  CAPTURE(told.output);
  CHECK(told.end == "");
  CHECK(told.output.find("ESCAPED") == std::string::npos);
  std::size_t contained = 0;
  std::istringstream lines(told.output);
  for (std::string line; std::getline(lines, line);) contained += line.starts_with("contained ");
  CHECK(contained >= 100);
  CHECK(told.output.ends_with("over\n"));
  struct stat after {};
  REQUIRE(::stat(prison.secret().c_str(), &after) == 0);
  CHECK((after.st_mode & 07777) == 0600);
  CHECK(content(prison.secret()) == "the run's secret");
  CHECK(std::distance(fs::directory_iterator(prison.outside()), {}) == 2);
}

}  // namespace

TEST_CASE("every attempt of an agent to get out of its jail is contained") {
  ::setenv("KERNELITES_TEST_OTHER_KEY", "sk-other-0123456789", 1);
  for (const bool has_network : {true, false}) {
    const Prison prison;
    check_contained(prison, run(prison.attempts(has_network)));
  }
}

TEST_CASE("the jail of a user without rights contains the same attempts") {
  if (::geteuid() != 0) return;  // then the case above was this one
  const Prison prison;
  prison.give_to(k_nobody);
  const Told told = run_as_nobody(prison.attempts(true));
  if (told.end.starts_with("user namespace")) {
    WARN("this system gives users no namespaces: " << told.end);
    return;
  }
  check_contained(prison, told);
}

TEST_CASE("of processes that left the session of their agent none is left") {
  const Prison prison;
  CHECK(run(prison.command({"leave", k_mark})).output == "left\n");
  CHECK(sleepers() == 0);
}

TEST_CASE("a fork bomb ends itself") {
  const Prison prison;
  CHECK(run(prison.command({"bomb"})).end == "signal 9");
}

TEST_CASE("shared memory and queues that an agent leaves are gone with it") {
  const Prison prison;
  CHECK(run(prison.command({"segment"})).output == "left\n");
  CHECK(::shmget(0x6b656c69, 1, 0600) < 0);
  CHECK_FALSE(fs::exists("/dev/mqueue/kernelites-escape"));
}
