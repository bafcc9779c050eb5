// SPDX-License-Identifier: Apache-2.0
// A coding agent's jail, from outside: every attempt of the table is contained, and nothing is left of what was tried.
// Without the jail the same attempts succeed, or they would prove nothing.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ipc.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>

#include "engine/jail/jailed_process.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
namespace fs = std::filesystem;

namespace {

constexpr const char* k_mark = "61235.25";
constexpr const char* k_program = KERNELITES_BUILD_DIR "/tests/escapes/escape_program";
constexpr uid_t k_nobody = 65534;
constexpr std::size_t k_contained_min = 100, k_proven_min = 60;

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

/// Somebody else's process, which leads a session of its own.
struct Victim {
  Victim() : pid(::fork()) {
    if (pid != 0) return;
    ::setsid();
    for (;;) ::pause();
  }
  ~Victim() {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  const pid_t pid;
};

/// Somebody else's daemon.
struct Daemon {
  Daemon(const std::string& name, bool is_abstract)
      : socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    const std::size_t start = is_abstract ? 1 : 0;
    REQUIRE(name.size() + start < sizeof address.sun_path);
    std::copy(name.begin(), name.end(), address.sun_path + start);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + start + name.size());
    REQUIRE(::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(socket, 5) == 0);
  }
  ~Daemon() { ::close(socket); }
  const int socket;
};

/// A run folder with a secret in it, the scratch folder of an agent, and a program that does as it is told. A process,
/// two daemons, a descriptor and a variable are there to be stolen.
struct Prison {
  Prison() {
    ::setenv("KERNELITES_TEST_OTHER_KEY", "sk-other-0123456789", 1);
    fs::create_directories(scratch());
    std::ofstream(secret()) << "the run's secret";
    ::chmod(secret().c_str(), 0600);
    inherited = ::open(secret().c_str(), O_RDONLY);  // not closed on exec
    daemon.emplace(outside() / "daemon.socket", false);
    abstract_daemon.emplace("kernelites " + outside().string(), true);
  }
  ~Prison() { ::close(inherited); }
  fs::path outside() const { return fs::canonical(folder.path()); }
  fs::path secret() const { return outside() / "secret.txt"; }
  fs::path scratch() const { return outside() / "scratch"; }
  /// Everything is `user`'s, as it is where that user runs the search.
  void give_to(uid_t user) const {
    for (const fs::path& path : {outside(), secret(), scratch()})
      REQUIRE(::chown(path.c_str(), user, user) == 0);
  }

  JailedCommand command(std::vector<std::string> words, bool has_network = true) const {
    const std::string program = k_program;
    words.insert(words.begin(), program);
    return {.command = std::move(words),
            .environment = {{"PATH", "/usr/bin:/bin"}, {"HOME", scratch().string()}},
            .scratch = scratch(),
            .readable = {program},
            .allows_network = has_network};
  }
  JailedCommand attempts(bool has_network) const {
    return command(
        {"attempts", outside().string(), has_network ? "network" : "closed", std::to_string(victim.pid)},
        has_network);
  }
  TemporaryFolder folder;
  Victim victim;
  std::optional<Daemon> daemon, abstract_daemon;
  int inherited = -1;
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

/// Of the lines that begin so, the word behind.
std::set<std::string> names_after(const std::string& beginning, const std::string& output) {
  std::set<std::string> names;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(beginning))
      names.insert(line.substr(beginning.size(), line.find(':') - beginning.size()));
  return names;
}

/// The attempts without a jail.
std::string control(const Prison& prison) {
  const std::string command = fmt::format("{} control {}", k_program, prison.outside().string());
  FILE* const stream = ::popen(command.c_str(), "r");
  REQUIRE(stream != nullptr);
  std::string output;
  char block[4096];
  for (std::size_t got = 1; got > 0; output.append(block, got))
    got = std::fread(block, 1, sizeof block, stream);
  ::pclose(stream);
  return output;
}

void check_contained(const Prison& prison, const Told& told) {
  CAPTURE(told.output);
  CHECK(told.end == "");
  CHECK(told.output.find("ESCAPED") == std::string::npos);
  CHECK(names_after("contained ", told.output).size() >= k_contained_min);
  CHECK(told.output.ends_with("over\n"));
  struct stat after {};
  REQUIRE(::stat(prison.secret().c_str(), &after) == 0);
  CHECK((after.st_mode & 07777) == 0600);
  CHECK(content(prison.secret()) == "the run's secret");
  CHECK(std::distance(fs::directory_iterator(prison.outside()), {}) == 3);
}

}  // namespace

TEST_CASE("every attempt of an agent to get out of its jail is contained") {
  for (const bool has_network : {true, false}) {
    const Prison prison;
    check_contained(prison, run(prison.attempts(has_network)));
  }
}

TEST_CASE("what the jail contains succeeds without it") {
  if (::geteuid() != 0) {
    WARN("only root can show what a jail without rights would allow");
    return;
  }
  const Prison prison;
  const std::string outside = control(prison);
  CAPTURE(outside);
  const std::set<std::string> proven = names_after("succeeds ", outside),
                              failed = names_after("fails ", outside);
  if (!outside.ends_with("over\n")) {
    WARN("this system lets root make no namespaces");
    return;
  }
  CHECK(proven.size() >= k_proven_min);
  // A container may keep some from root; whoever has all rights must see all of them succeed.
  if (content("/proc/self/status").find("CapEff:\t000001ff") != std::string::npos) CHECK(failed.empty());
  for (const std::string& name : failed) WARN("not shown here to succeed without the jail: " << name);
  const std::set<std::string> contained = names_after("contained ", run(prison.attempts(false)).output);
  CHECK(std::includes(contained.begin(), contained.end(), proven.begin(), proven.end()));
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

TEST_CASE("a bomb of threads ends itself") {
  const Prison prison;
  CHECK(run(prison.command({"threads"})).end == "signal 9");
}

TEST_CASE("a user without rights gets no more threads than its jail has") {
  if (::geteuid() != 0) return;  // the case above was this one
  const Prison prison;
  prison.give_to(k_nobody);
  const Told told = run_as_nobody(prison.command({"threads"}));
  if (told.end.starts_with("user namespace")) return;
  CAPTURE(told.output);
  if (told.end.empty()) CHECK(std::atoi(told.output.c_str()) < 4096);  // else they were counted first
  CHECK((told.end.empty() || told.end == "signal 9"));
}

TEST_CASE("an agent is what goes first where memory runs out") {
  const Prison prison;
  JailedCommand command = prison.command({});
  command.command = {"/bin/cat", "/proc/self/oom_score_adj"};
  CHECK(run(command).output == "1000\n");
}

TEST_CASE("shared memory and queues that an agent leaves are gone with it") {
  const Prison prison;
  CHECK(run(prison.command({"segment"})).output == "left\n");
  CHECK(::shmget(0x6b656c69, 1, 0600) < 0);
  CHECK_FALSE(fs::exists("/dev/mqueue/kernelites-escape"));
}
