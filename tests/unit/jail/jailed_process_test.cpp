// SPDX-License-Identifier: Apache-2.0
// A fake agent that tries what agents should not: contained, named, ended.
#include "engine/jail/jailed_process.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <sstream>

#include "engine/jail/command_filter.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
namespace fs = std::filesystem;

namespace {

constexpr const char* k_mark = "61234.5";

std::string content(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Processes of the whole machine whose command line has the mark.
int sleepers() {
  int count = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string line = content(entry.path() / "cmdline");
    count += line.find(k_mark) != std::string::npos && line.find("sleep") != std::string::npos;
  }
  return count;
}

/// A run folder with a secret in it, and the agent's scratch folder below.
struct Outside {
  Outside() {
    fs::create_directories(folder.path() / "agents/1-0");
    std::ofstream(secret()) << "the run's secret";
    ::chmod(secret().c_str(), 0600);
  }
  fs::path secret() const { return folder.path() / "secret.txt"; }
  fs::path scratch() const { return fs::canonical(folder.path() / "agents/1-0"); }

  JailedCommand agent(const std::string& mode) const {
    const std::string script = KERNELITES_SOURCE_DIR "/tests/support/fake_agent.sh";
    return {.command = {"/bin/sh", script, mode, folder.path().string(), k_mark},
            .environment = {{"PATH", "/usr/bin:/bin"}, {"HOME", scratch().string()}},
            .scratch = scratch(),
            .readable = {script}};
  }
  TemporaryFolder folder;
};

void turn(JailedProcess& process, std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (!process.has_ended() && std::chrono::steady_clock::now() < end) {
    std::vector<pollfd> descriptors;
    process.add_descriptors(descriptors);
    ::poll(descriptors.data(), descriptors.size(), 10);
    process.pump();
  }
}

/// Runs to its end, which must come within twenty seconds.
void finish(JailedProcess& process) {
  turn(process, std::chrono::seconds(20));
  REQUIRE(process.has_ended());
  CAPTURE(process.end().words(), process.errors());
  CHECK(process.end().jail_problem == "");
}

}  // namespace

TEST_CASE("a jailed program reads its input, works in its folder and answers") {
  const Outside outside;
  JailedCommand command = outside.agent("answer");
  command.input.assign(300'000, 'x');
  command.input += "\nsecond line\n";
  JailedProcess process(command);
  finish(process);
  CHECK(process.end().is_clean());
  CHECK(process.output() == fmt::format("HOME={}\n2\ninput.txt\n", outside.scratch().string()));
}

TEST_CASE("a jailed program cannot write, link, move or change anything outside its folder") {
  const Outside outside;
  struct stat before {};
  REQUIRE(::stat(outside.secret().c_str(), &before) == 0);
  JailedProcess process(outside.agent("write"));
  finish(process);
  CHECK(process.output() == "done\n");
  struct stat after {};
  REQUIRE(::stat(outside.secret().c_str(), &after) == 0);
  CHECK(after.st_mode == before.st_mode);
  CHECK(after.st_mtime == before.st_mtime);
  CHECK(content(outside.secret()) == "the run's secret");
  CHECK(content(outside.scratch() / "mine.txt") == "mine\n");
  CHECK(std::distance(fs::directory_iterator(outside.folder.path()), {}) == 2);
}

TEST_CASE("a jailed program sees neither the run, nor the home folder, nor any other key") {
  ::setenv("KERNELITES_TEST_OTHER_KEY", "sk-other-0123456789", 1);
  const Outside outside;
  JailedCommand command = outside.agent("read");
  command.environment["AGENT_KEY"] = "sk-own-0123456789";
  JailedProcess process(command);
  finish(process);
  const std::string& seen = process.output();
  CAPTURE(seen);
  CHECK(seen.find("the run's secret") == std::string::npos);
  CHECK(seen.find("sk-other") == std::string::npos);
  CHECK(seen.find("read ") == std::string::npos);
  CHECK(seen.find("listed") == std::string::npos);
  CHECK(seen.find("AGENT_KEY=sk-own-0123456789") != std::string::npos);
}

TEST_CASE("whatever a jailed program started is gone when it has ended") {
  const Outside outside;
  JailedProcess process(outside.agent("fork"));
  finish(process);
  CHECK(process.output() == "started\n");
  CHECK(process.end().is_clean());
  CHECK(sleepers() == 0);
}

TEST_CASE("a program that hangs and ignores signals is killed with all it started") {
  const Outside outside;
  JailedProcess process(outside.agent("hang"));
  for (int i = 0; i < 500 && sleepers() == 0; ++i) turn(process, std::chrono::milliseconds(20));
  CHECK(sleepers() > 0);
  process.kill();
  turn(process, std::chrono::seconds(10));
  REQUIRE(process.has_ended());
  CHECK(process.end().signal == 9);
  CHECK(sleepers() == 0);
}

TEST_CASE("killing does not wait, and whoever is dropped while alive leaves nothing behind") {
  const Outside outside;
  {
    JailedProcess process(outside.agent("hang"));
    for (int i = 0; i < 500 && sleepers() == 0; ++i) turn(process, std::chrono::milliseconds(20));
    const auto before = std::chrono::steady_clock::now();
    process.kill();
    CHECK(std::chrono::steady_clock::now() - before < std::chrono::milliseconds(50));
  }
  CHECK(sleepers() == 0);
}

TEST_CASE("a jailed program neither sees nor leaves shared memory of the system") {
  const int ours = ::shmget(IPC_PRIVATE, 4096, 0600 | IPC_CREAT);
  REQUIRE(ours >= 0);
  const Outside outside;
  JailedCommand command = outside.agent("answer");
  command.command = {"/bin/sh", "-c",
                     "ipcs -m | grep -c '^0x'; ipcmk -M 4096 >/dev/null && ipcs -m | grep -c '^0x'"};
  JailedProcess process(command);
  finish(process);
  ::shmctl(ours, IPC_RMID, nullptr);
  CHECK(process.output().substr(0, 2) == "0\n");
  CHECK(content("/proc/sysvipc/shm").find(fmt::format(" {} ", ours)) == std::string::npos);
}

TEST_CASE("a program that floods its output is killed at the limit") {
  const Outside outside;
  JailedCommand command = outside.agent("flood");
  command.output_bytes_max = 100'000;
  JailedProcess process(command);
  finish(process);
  CHECK(process.has_flooded());
  CHECK(process.output().size() == 100'000);
}

TEST_CASE("a jailed program cannot signal anything outside") {
  const Outside outside;
  JailedProcess process(outside.agent("kill"));
  finish(process);
  CHECK(process.output() == "alive\n");
}

TEST_CASE("a program that fails is told by its exit code and its last words") {
  const Outside outside;
  JailedProcess process(outside.agent("fail"));
  finish(process);
  CHECK(process.end().words() == "exit code 7");
  CHECK(process.errors() == "no licence for \n");
}

TEST_CASE("a program that does not exist is named as the jail's last step") {
  const Outside outside;
  JailedCommand command = outside.agent("answer");
  command.command = {"no-such-agent"};
  JailedProcess process(command);
  turn(process, std::chrono::seconds(20));
  REQUIRE(process.has_ended());
  CHECK(process.end().words() == "program: No such file or directory");
}

TEST_CASE("without network there are no sockets but pairs") {
  const Outside outside;
  JailedCommand command = outside.agent("answer");
  command.command = {"/usr/bin/env", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/1"};
  for (const bool allows_network : {false, true}) {
    command.allows_network = allows_network;
    JailedProcess process(command);
    finish(process);
    CAPTURE(process.errors());
    CHECK((process.errors().find("Permission denied") != std::string::npos) == !allows_network);
    CHECK((process.errors().find("Connection refused") != std::string::npos) == allows_network);
  }
}

TEST_CASE("a jailed program that keeps its input gets more of it, and answers in between") {
  const Outside outside;
  JailedCommand command{
      .command = {"/bin/cat"}, .environment = {}, .scratch = outside.scratch(), .readable = {}};
  command.keeps_input = true;
  JailedProcess process(command);
  for (const std::string& part : {std::string("first"), std::string(300'000, 'x')}) {
    process.send(part);
    std::string answer;
    for (int i = 0; i < 500 && answer.size() < part.size(); ++i) {
      turn(process, std::chrono::milliseconds(10));
      answer += process.take_output();
    }
    CHECK(answer == part);
  }
  CHECK_FALSE(process.has_ended());
}
