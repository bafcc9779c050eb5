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

/// What is run, and where the replies come from.
struct GoldenRun {
  std::string task;
  std::vector<std::string> options;
};

/// Replies written for the test: good kernels, one that does not compile, one that is no kernel.
const GoldenRun k_small{
    "rmsnorm",
    {"--endpoint", KERNELITES_SOURCE_DIR "/tests/golden/endpoint.json", "--budget-candidates", "5"}};
/// What a model answered in the run of docs/runs, which is the default where no endpoint is named.
const GoldenRun k_recorded{"gqa_decode_splitkv", {"--budget-candidates", "4"}};

std::vector<std::string> run_command(const GoldenRun& golden, const fs::path& run) {
  std::vector<std::string> command{k_program,         "run",         "--task",   golden.task,
                                   "--out",           run.string(),  "--device", "vgpu",
                                   "--deterministic", "--in-flight", "3"};
  command.insert(command.end(), golden.options.begin(), golden.options.end());
  return command;
}

std::size_t events_in(const fs::path& run) {
  std::ifstream in(run / "events.jsonl");
  std::size_t lines = 0;
  for (std::string line; std::getline(in, line);) ++lines;
  return lines;
}

/// At most ten minutes.
void wait_for_end(ChildProcess& child) {
  REQUIRE(child.wait_for_end(std::chrono::minutes(10)));
  REQUIRE(child.end() == "exit code 0");
}

void run_to_end(const GoldenRun& golden, const fs::path& run, const fs::path& log) {
  ChildProcess child(run_command(golden, run), log);
  wait_for_end(child);
}

/// Runs until `events` events are written, then kills with SIGKILL. False if the run ended before.
bool run_and_kill(const GoldenRun& golden, const fs::path& run, const fs::path& log, std::size_t events) {
  ChildProcess child(run_command(golden, run), log);
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

/// One dump, twice and after three kills; the result is that dump. The second time is beside the run that is killed.
std::string check_golden(const GoldenRun& golden) {
  TemporaryFolder folder;
  const fs::path log = folder.path() / "log", second = folder.path() / "second",
                 killed = folder.path() / "killed";
  run_to_end(golden, folder.path() / "first", log);
  const std::string expected = dump_of(folder.path() / "first");
  REQUIRE(expected.size() > 2000);

  ChildProcess again(run_command(golden, second), folder.path() / "second_log");
  const std::size_t events = events_in(folder.path() / "first");
  int kills = 0;
  for (std::size_t quarter : {1, 2, 3})
    kills += run_and_kill(golden, killed, log, quarter * events / 4) ? 1 : 0;
  CHECK(kills >= 2);
  run_to_end(golden, killed, log);
  CHECK((dump_of(killed) == expected));

  wait_for_end(again);
  CHECK((dump_of(second) == expected));
  return expected;
}

}  // namespace

TEST_CASE("a golden run gives one dump, twice and after three kills") {
  const std::string dump = check_golden(k_small);
  // Something happened: candidates passed, one failed, one reply was refused.
  CHECK(dump.find("\"failed\"") != std::string::npos);
  CHECK(dump.find("no_code_block") != std::string::npos);
}

TEST_CASE("the replies of the first real run give one dump, twice and after three kills") {
  const std::string dump = check_golden(k_recorded);
  // It begins with the recording's seeds, neither of which uses tensor cores: a reply does, and another one is refused.
  CHECK(dump.find("mma_sync") != std::string::npos);
  CHECK(dump.find("mma_ahead.cu") == std::string::npos);
  CHECK(dump.find("uninitialised") != std::string::npos);
}
