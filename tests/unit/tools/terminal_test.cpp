// SPDX-License-Identifier: Apache-2.0
// `kernelites run` in a pseudo-terminal: what it sends there, and how it leaves it.
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

namespace fs = std::filesystem;
using namespace kernelites;

namespace {

constexpr auto k_patience = std::chrono::seconds(20);

/// A worker that never answers: the run goes on until somebody ends it.
fs::path write_worker(const fs::path& folder) {
  fs::path worker = folder / "worker.sh";
  std::ofstream(worker) << "#!/bin/sh\nexec python3 " KERNELITES_SOURCE_DIR
                           "/tests/support/fake_worker.py hang_once "
                        << folder.string() << "\n";
  fs::permissions(worker, fs::perms::owner_all);
  return worker;
}

struct Session {
  std::string output;
  int status = -1;
};

struct Terminal {
  std::vector<std::string> arguments = {};
  std::vector<std::pair<const char*, const char*>> environment = {};
};

[[noreturn]] void run_child(const Terminal& terminal, const fs::path& folder) {
  unsetenv("NO_COLOR");
  setenv("TERM", "xterm-256color", 1);
  for (const auto& [name, value] : terminal.environment) setenv(name, value, 1);
  const std::string program = KERNELITES_BUILD_DIR "/tools/kernelites", out = (folder / "run").string(),
                    worker = write_worker(folder).string(), config = (folder / "config.json").string();
  std::ofstream(config) << R"({"task": "rmsnorm", "stop_grace_s": 0})";
  std::vector<std::string> words = {program, "run",      "--config", config,       "--out",
                                    out,     "--worker", worker,     "--endpoint", "none"};
  words.insert(words.end(), terminal.arguments.begin(), terminal.arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  execv(program.c_str(), pointers.data());
  _exit(127);
}

/// Runs until the first output, then types Ctrl-C.
Session run_in(const Terminal& terminal) {
  const TemporaryFolder folder;
  winsize size{};
  size.ws_row = 24;
  size.ws_col = 80;
  int master = -1;
  const pid_t child = forkpty(&master, nullptr, nullptr, &size);
  REQUIRE(child >= 0);
  if (child == 0) run_child(terminal, folder.path());
  Session session;
  const auto deadline = std::chrono::steady_clock::now() + k_patience;
  bool has_typed = false;
  std::jthread watch([&](const std::stop_token& stop) {
    while (!stop.stop_requested() && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (!stop.stop_requested()) kill(child, SIGKILL);
  });
  char block[4096];
  for (ssize_t got; (got = read(master, block, sizeof block)) > 0;) {  // EIO: the child is gone
    session.output.append(block, static_cast<std::size_t>(got));
    if (has_typed || session.output.find("rmsnorm on") == std::string::npos) continue;
    has_typed = write(master, "\x03", 1) == 1;
  }
  watch.request_stop();
  waitpid(child, &session.status, 0);
  close(master);
  return session;
}

/// Without control sequences.
std::string plain(const std::string& text) {
  std::string result;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\x1b')
      while (at + 1 < text.size() && !std::isalpha(static_cast<unsigned char>(text[++at]))) {
      }
    else
      result += text[at];
  }
  return result;
}

}  // namespace

TEST_CASE("on a terminal a run is a picture that is redrawn, and Ctrl-C ends it in order") {
  const Session session = run_in({});
  CHECK(WIFEXITED(session.status));
  CHECK(session.output.find("\x1b[J") != std::string::npos);
  CHECK(session.output.find("\x1b[?") == std::string::npos);  // no cursor hidden, no other screen
  const std::string text = plain(session.output);
  CHECK(text.find("stopping; waiting") != std::string::npos);
  CHECK(text.find("stopped: ") != std::string::npos);
  CHECK(text.ends_with("goes on\r\n"));
  CHECK(session.output.size() < 20'000);
}

TEST_CASE("a dumb terminal and --plain get lines of text") {
  for (const Terminal& terminal :
       {Terminal{.environment = {{"TERM", "dumb"}}}, Terminal{.arguments = {"--plain"}}}) {
    const Session session = run_in(terminal);
    CHECK(session.output.find('\x1b') == std::string::npos);
    CHECK(session.output.find("stopped: ") != std::string::npos);
  }
}

TEST_CASE("NO_COLOR keeps the picture and sends no colour") {
  const Session session = run_in({.environment = {{"NO_COLOR", "1"}}});
  CHECK(session.output.find("\x1b[J") != std::string::npos);
  CHECK(session.output.find("\x1b[3") == std::string::npos);
}
