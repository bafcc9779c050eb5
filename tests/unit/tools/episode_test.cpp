// SPDX-License-Identifier: Apache-2.0
// The harness as an environment: rewards, episodes, wrong requests, and a real one as docs/dataset.md shows it.
#include "tools/dataset/episode.h"

#include <unistd.h>

#include "tests/support/catch.h"
#include "tests/support/fake_evaluator.h"
#include "tests/support/python_block.h"
#include "tests/support/small_task.h"
#include "tools/dataset/device_turn.h"
#include "tools/dataset/line_input.h"

using namespace kernelites;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

std::string kernel(int us, const std::string& more = "") {
  return "// us: " + std::to_string(us) + "\n" + more + "__global__ void k() {}\n";
}

/// Episodes whose worker reads times out of comments; `lost`: so many replies do not come.
struct Rig {
  Task task = parse_task(small_task_document(), "reference", "small_task.json");
  PromptLibrary prompts = PromptLibrary::load(fs::path(KERNELITES_SOURCE_DIR) / "prompts");
  int lost = 0;
  std::vector<Key> keys;
  Episodes episodes{settings(), [this](const Request& request) { return reply_to(request); }};

  EpisodeSettings settings() const {
    return {.task = task,
            .prompts = prompts,
            .seeds = {{"slow.cu", {kernel(200), {}}}, {"fast.cu", {kernel(100), {}}}},
            .device = fake_provenance(true).device,
            .steps_max = 4};
  }
  Reply reply_to(const Request& request) {
    keys.push_back(request.examine ? request.examine->key : request.duel->key);
    Reply reply = fake_reply(request, fake_provenance(true));
    if (lost-- <= 0) return reply;
    reply.examination.reset();
    reply.duel.reset();
    reply.error = "the worker is gone";
    return reply;
  }
  Json ask(const Json& request) { return episodes.answer(request.dump()); }
};

}  // namespace

TEST_CASE("an episode goes on from what is proven faster, and tells of what failed") {
  Rig rig;
  const Json start = rig.ask({{"command", "reset"}, {"id", 7}});
  REQUIRE(start.at("event") == "reset");
  CHECK(start.at("id") == 7);
  CHECK_THAT(start.at("observation").at("prompt").dump(), Catch::Contains("// us: 200"));

  const Json slower = rig.ask({{"command", "step"}, {"source", kernel(400)}});
  CHECK(slower.at("reward") == 0.4);
  CHECK(slower.at("observation").at("parent").at("source") == kernel(200));
  const Json faster =
      rig.ask({{"command", "step"}, {"reply", "SUMMARY: half\n```cuda\n" + kernel(100) + "```\n"}});
  CHECK(faster.at("reward").get<double>() == Approx(1).margin(0.001));
  CHECK(faster.at("verdict").at("is_passed") == true);
  CHECK(faster.at("observation").at("parent").at("source") == kernel(100));
  const Json failed = rig.ask({{"command", "step"}, {"source", kernel(50, "// fails: compile\n")}});
  CHECK(failed.at("reward") == 0.1);
  CHECK(failed.at("done") == false);
  CHECK_THAT(failed.at("observation").at("prompt").dump(), Catch::Contains("it was told to fail"));
  const Json last = rig.ask({{"command", "step"}, {"source", kernel(50)}});
  CHECK(last.at("gain").at("log_gain").get<double>() == Approx(std::log(2)));
  CHECK(last.at("gain_over_start").at("log_gain").get<double>() == Approx(std::log(4)));
  CHECK(last.at("done") == true);
  CHECK(last.at("observation").is_null());
  CHECK(rig.ask({{"command", "step"}, {"source", kernel(40)}}).at("event") == "error");
  CHECK(rig.ask({{"command", "reset"}, {"seed", "fast.cu"}}).at("episode") == 2);
  CHECK(rig.ask({{"command", "close"}}).at("event") == "closed");
  CHECK(rig.episodes.is_closed());
}

TEST_CASE("no evaluation of an environment repeats the inputs of another") {
  Rig rig;
  rig.ask({{"command", "reset"}});
  rig.ask({{"command", "step"}, {"source", kernel(100)}});
  std::set<std::string> different;
  for (const Key& key : rig.keys) different.insert(key.hex());
  CHECK(rig.keys.size() == 4);
  CHECK(different.size() == rig.keys.size());
}

TEST_CASE("a reply without a kernel, and one that was tried before, earn nothing and end nothing") {
  Rig rig;
  rig.ask({{"command", "reset"}});
  for (const char* reply : {"I would rather not.", "```cuda\n// us: 200\n__global__ void k() {}\n```\n"}) {
    const Json answer = rig.ask({{"command", "step"}, {"reply", reply}});
    CHECK(answer.at("event") == "step");
    CHECK(answer.at("reward") == 0);
    CHECK(answer.at("child").is_null());
    CHECK_FALSE(answer.at("rejection").at("reason").get<std::string>().empty());
  }
  const Json long_one = rig.ask({{"command", "step"}, {"source", std::string(k_source_bytes_max + 1, 'x')}});
  CHECK(long_one.at("rejection").at("reason") == "too_long");
}

TEST_CASE("a wrong request is told so and changes nothing, and so does a lost worker") {
  Rig rig;
  CHECK(rig.ask({{"command", "step"}, {"source", "x"}}).at("is_request_wrong") == true);
  rig.ask({{"command", "reset"}});
  const std::string deep(100000, '[');
  for (const std::string& line :
       {std::string("{"), std::string("[]"), std::string("7"), deep, std::string("{\"command\": 3}"),
        std::string("{\"command\": \"fly\"}"), std::string("{\"command\": \"step\"}"),
        std::string("{\"command\": \"step\", \"source\": \"a\", \"reply\": \"b\"}"),
        std::string("{\"command\": \"step\", \"source\": 1}"),
        std::string("{\"command\": \"step\", \"sauce\": \"a\"}"),
        std::string("{\"command\": \"reset\", \"seed\": \"no.cu\"}"), std::string("\xff\xfe"),
        std::string(k_episode_line_bytes_max + 1, ' ')}) {
    const Json answer = rig.episodes.answer(line);
    INFO(line.substr(0, 60));
    CHECK(answer.at("event") == "error");
    CHECK(answer.at("is_request_wrong") == true);
  }
  rig.lost = 1;
  CHECK(rig.ask({{"command", "step"}, {"source", kernel(100)}}).at("is_request_wrong") == false);
  rig.lost = 1;
  CHECK(rig.ask({{"command", "reset"}, {"seed", "fast.cu"}}).at("is_request_wrong") == false);
  const Json answer = rig.ask({{"command", "step"}, {"source", kernel(100)}});
  CHECK(answer.at("step") == 1);
  CHECK(answer.at("gain").at("log_gain").get<double>() == Approx(std::log(2)));
}

TEST_CASE("a line that is too long is skipped whole, and silence has an end") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const std::string text = "short\n" + std::string(300, 'x') + "\nnext\nlast";
  REQUIRE(write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  LineInput input(ends[0], 100);
  std::string line;
  CHECK((input.next(line, 1s) == LineState::line && line == "short"));
  CHECK(input.next(line, 1s) == LineState::too_long);
  CHECK((input.next(line, 1s) == LineState::line && line == "next"));
  CHECK(input.next(line, 1ms) == LineState::silent);
  close(ends[1]);
  CHECK((input.next(line, 1s) == LineState::line && line == "last"));
  CHECK(input.next(line, 1s) == LineState::end);
  close(ends[0]);
}

TEST_CASE("who wants a device that another holds waits for a while and then says so") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "turn.lock";
  {
    const DeviceTurn mine(file, 0ms);
    CHECK_THROWS_WITH(DeviceTurn(file, 30ms), Catch::Contains("held the device"));
  }
  CHECK_NOTHROW(DeviceTurn(file, 0ms));
}

TEST_CASE("the loop of docs/dataset.md trains against the real harness on the virtual GPU") {
  const std::string program = (fs::path(KERNELITES_BUILD_DIR) / "tools" / "kernelites").string();
  const PythonRun run = run_python_block(
      "dataset.md", {program, "env", "--task", "rmsnorm", "--device", "vgpu", "--steps", "1"}, 1);
  CHECK(run.code == 0);
  // The same code: it passes, and is neither faster nor slower.
  CHECK(run.out == "ready\n0.5 passed every stage\nclosed\n");
}
