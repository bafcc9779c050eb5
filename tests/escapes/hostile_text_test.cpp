// SPDX-License-Identifier: Apache-2.0
// What a model, a server or a foreign file wrote: on the terminal it is text, and a key in it goes nowhere.
#include <sys/stat.h>

#include <fstream>

#include "engine/core/fresh_folder.h"
#include "engine/llm/make_endpoint.h"
#include "engine/llm/scratch_folder.h"
#include "tests/support/catch.h"
#include "tests/support/fake_openai_server.h"
#include "tests/support/large_run/large_run.h"
#include "tests/unit/search/search_rig.h"
#include "tests/unit/tools/called_program.h"

using namespace kernelites;
using test::call;
using test::Called;
namespace fs = std::filesystem;

namespace {

constexpr const char* k_key = "sk-escape-0123456789abcdef";
/// Clears the screen, sets the title, fills the clipboard, moves the cursor; also as one character (C1), and a bell.
constexpr const char* k_escapes =
    " \x1b[2J\x1b]0;owned\x07\x1b]52;c;ZWNobyBwd25lZA==\x07\x1b[1;1H\xc2\x9b\x33\x31m\r\b\x7f";

/// The first control character of a text, line feeds apart; -1: none.
int first_control(const std::string& text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto c = static_cast<unsigned char>(text[at]);
    const bool is_c1 = c == 0xC2 && at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) < 0xA0;
    if ((c < 0x20 && c != '\n') || c == 0x7F || is_c1) return c;
  }
  return -1;
}

mode_t mode_of(const fs::path& path) {
  struct stat facts {};
  REQUIRE(::stat(path.c_str(), &facts) == 0);
  return facts.st_mode & 0777;
}

/// Files below `folder` that hold `text`.
std::vector<std::string> files_with(const fs::path& folder, const std::string& text) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream stream(entry.path(), std::ios::binary);
    const std::string content(std::istreambuf_iterator<char>(stream), {});
    if (content.find(text) != std::string::npos) found.push_back(entry.path().filename());
  }
  return found;
}

}  // namespace

TEST_CASE("no command that shows a run sends a model's control characters to the terminal") {
  const TemporaryFolder folder;
  const std::string run = (folder.path() / "run").string();
  write_large_run(run, {.data = KERNELITES_SOURCE_DIR,
                        .task = "rmsnorm",
                        .variations = 40,
                        .is_small = true,
                        .text = k_escapes});
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"status", run},
                                             {"elites", run},
                                             {"lineage", run, "--all"},
                                             {"log", run},
                                             {"report", run, "--text"},
                                             {"show", run, "9"},
                                             {"show", run, "9", "--prompt"},
                                             {"explain", run, "9"},
                                             {"diff", run, "1", "9"},
                                             {"prompt", run, "9"},
                                             {"prompt", run, "1", "--as-parent-of", "refine"},
                                             {"archive", "verify", run},
                                             {"compare", run, run}}) {
    const Called called = call(words);
    CAPTURE(words, called.out.substr(0, 400), called.err);
    CHECK(called.out.size() + called.err.size() > 0);
    CHECK(first_control(called.out) == -1);
    CHECK(first_control(called.err) == -1);
  }
}

TEST_CASE("what went wrong is told without the control characters of what it quotes") {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{std::string("fly") + k_escapes},
                                             {"status", std::string("/nowhere") + k_escapes},
                                             {"run", "--task", std::string("x") + k_escapes},
                                             {"rank", std::string("/nowhere") + k_escapes}})
    CHECK(first_control(call(words).err) == -1);
}

TEST_CASE("a key that its server sends back is in no file of the run, and in no event") {
  FakeOpenAiServer server(
      {{.status = 400, .body = std::string(R"({"error": {"message": "bad key )") + k_key + "\"}}"},
       {.body = chat_answer(std::string("SUMMARY: your key is ") + k_key + "\n```cuda\n// us: 50 " + k_key +
                            "\n__global__ void k() {}\n```\n")}});
  SearchRig rig;
  rig.clock = {};
  rig.config.operators = {{"refine", 1}};
  rig.config.in_flight = 1;
  rig.config.budget.candidates = 2;
  const Json settings{
      {"kind", "openai"}, {"base_url", server.base_url()}, {"model", "m"}, {"api_key_env", "LEAK_KEY"}};
  rig.config.endpoint = settings;
  HttpLoop http({}, Clock{});
  const auto endpoint =
      make_endpoint(parse_endpoint_config(settings, "test", "", "/"),
                    {.http = http,
                     .clock = {},
                     .run_folder = rig.folder.path(),
                     .recordings = {},
                     .secret = [](const std::string& name) {
                       return name == "LEAK_KEY" ? std::optional<std::string>(k_key) : std::nullopt;
                     }});
  FakeEvaluator evaluator;
  rig.run(evaluator, endpoint.get());
  REQUIRE(server.request_count() >= 2);
  CHECK(server.request(0).authorization.find(k_key) != std::string::npos);
  CHECK(files_with(rig.folder.path(), "your key is").size() > 0);
  CHECK(files_with(rig.folder.path(), k_key) == std::vector<std::string>());
  for (const Json& event : rig.sink.events) CHECK(event.dump().find(k_key) == std::string::npos);
}

TEST_CASE("a run's folder and an agent's are their owner's alone") {
  const TemporaryFolder folder;
  write_large_run(folder.path() / "above" / "run",
                  {.data = KERNELITES_SOURCE_DIR, .task = "rmsnorm", .variations = 1, .is_bare = true});
  CHECK(mode_of(folder.path() / "above" / "run") == 0700);
  CHECK(mode_of(make_scratch(folder.path() / "agents", "1-0")) == 0700);
  fs::create_directories(folder.path() / "shared");
  ::chmod((folder.path() / "shared").c_str(), 0750);
  std::error_code problem;
  make_private_folder(folder.path() / "shared", problem);
  CHECK_FALSE(problem);
  CHECK(mode_of(folder.path() / "shared") == 0750);  // whoever made it has chosen
}
