// SPDX-License-Identifier: Apache-2.0
// Golden runs with the real programs: the virtual GPU, recorded replies, a fixed key. One signature, whatever happens.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "evaluators/child_process.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
namespace fs = std::filesystem;

namespace {

const std::string k_program = KERNELITES_BUILD_DIR "/tools/kernelites";

std::vector<std::string> run_command(const fs::path& run) {
  return {k_program,
          "run",
          "--task",
          "rmsnorm",
          "--out",
          run.string(),
          "--device",
          "vgpu",
          "--deterministic",
          "--endpoint",
          KERNELITES_SOURCE_DIR "/tests/golden/endpoint.json",
          "--budget-candidates",
          "5",
          "--in-flight",
          "3"};
}

std::size_t events_in(const fs::path& run) {
  std::ifstream in(run / "events.jsonl");
  std::size_t lines = 0;
  for (std::string line; std::getline(in, line);) ++lines;
  return lines;
}

/// Runs to the end, at most ten minutes.
void run_to_end(const fs::path& run, const fs::path& log) {
  ChildProcess child(run_command(run), log);
  REQUIRE(child.wait_for_end(std::chrono::minutes(10)));
  REQUIRE(child.end() == "exit code 0");
}

/// Runs until `events` events are written, then kills with SIGKILL. False if the run ended before.
bool run_and_kill(const fs::path& run, const fs::path& log, std::size_t events) {
  ChildProcess child(run_command(run), log);
  while (!child.wait_for_end(std::chrono::milliseconds(5)))
    if (events_in(run) >= events) return true;  // the child's destructor kills it
  return false;
}

std::string output_of(const std::string& command) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  REQUIRE(pipe != nullptr);
  std::string text;
  char bytes[4096];
  while (const std::size_t got = fread(bytes, 1, sizeof bytes, pipe.get())) text.append(bytes, got);
  return text;
}

std::string dump_of(const fs::path& run) {
  return output_of(fmt::format("'{}' dump '{}'", k_program, run.string()));
}

}  // namespace

TEST_CASE("a golden run gives one dump, twice and after three kills") {
  TemporaryFolder folder;
  const fs::path log = folder.path() / "log";
  run_to_end(folder.path() / "first", log);
  const std::string expected = dump_of(folder.path() / "first");
  REQUIRE(expected.size() > 2000);
  // Something happened: candidates passed, one failed, one reply was refused.
  CHECK(expected.find("\"failed\"") != std::string::npos);
  CHECK(expected.find("no_code_block") != std::string::npos);

  run_to_end(folder.path() / "second", log);
  CHECK((dump_of(folder.path() / "second") == expected));

  const std::size_t events = events_in(folder.path() / "first");
  const fs::path killed = folder.path() / "killed";
  int kills = 0;
  for (std::size_t quarter : {1, 2, 3}) kills += run_and_kill(killed, log, quarter * events / 4) ? 1 : 0;
  CHECK(kills >= 2);
  run_to_end(killed, log);
  CHECK((dump_of(killed) == expected));
}
