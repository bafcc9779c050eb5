// SPDX-License-Identifier: Apache-2.0
// Calls of a command: what its end is called, what is given to it and what is left of it.
#include "engine/llm/command_endpoint.h"

#include <fmt/format.h>
#include <poll.h>

#include <fstream>

#include "engine/core/json.h"
#include "engine/llm/make_endpoint.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
using namespace std::chrono_literals;

namespace {

struct Called {
  explicit Called(const std::string& mode) {
    const std::string script = KERNELITES_SOURCE_DIR "/tests/support/fake_agent.sh";
    settings.command = {"/bin/sh", script, mode, folder.path().string(), "71234.5"};
    settings.readable = {script};
    settings.folder = folder.path() / "agents";
    settings.total = 20s;
  }
  ModelReply reply() {
    CommandEndpoint endpoint(settings, {{"AGENT_KEY", "sk-own-0123456789"}}, {});
    endpoint.submit({.id = "4-0", .messages = {{"user", "make it faster"}}});
    return wait_for(endpoint);
  }
  static ModelReply wait_for(CommandEndpoint& endpoint) {
    std::vector<pollfd> nothing;
    const auto end = std::chrono::steady_clock::now() + 30s;
    while (std::chrono::steady_clock::now() < end) {
      if (auto reply = endpoint.take()) return *reply;
      endpoint.wait(nothing, 1s);
      endpoint.pump();
    }
    FAIL("no reply");
    return {};
  }
  static void turn(CommandEndpoint& endpoint) {
    std::vector<pollfd> nothing;
    endpoint.wait(nothing, 10ms);
    endpoint.pump();
  }
  template <typename Condition>
  static void turn_while(CommandEndpoint& endpoint, Condition condition) {
    const auto end = std::chrono::steady_clock::now() + 30s;
    while (condition() && std::chrono::steady_clock::now() < end) turn(endpoint);
  }
  TemporaryFolder folder;
  CommandSettings settings;
};

}  // namespace

TEST_CASE("a command's output is the answer, and its folder is gone afterwards") {
  Called called("answer");
  const ModelReply reply = called.reply();
  CHECK(reply.failure == "");
  CHECK(reply.cost.usd == 0);
  CHECK(reply.id == "4-0");
  CHECK(reply.text.find("request.json") != std::string::npos);
  CHECK(reply.cost.is_estimated);
  CHECK(std::filesystem::is_empty(called.settings.folder));
}

TEST_CASE("a command's JSON is read by pointers") {
  Called called("json");
  called.settings.reply = {
      .text = "/result", .usd = "/total_cost_usd", .input_tokens = "/usage/input_tokens"};
  const ModelReply reply = called.reply();
  CHECK(reply.text == "faster");
  CHECK(reply.cost.usd == 0.25);
  CHECK(reply.cost.input_tokens == 7);
  called.settings.reply.text = "/answer";
  CHECK(called.reply().failure == "malformed_reply");
}

TEST_CASE("a command's bad end has a name, and its secret is not in the message") {
  const ModelReply failed = Called("fail").reply();
  CHECK(failed.failure == "command_failed");
  CHECK(failed.message == "the command ended with exit code 7: no licence for [secret] ");
  Called hanging("hang");
  hanging.settings.total = 300ms;
  CHECK(hanging.reply().failure == "timeout");
  Called flooding("flood");
  flooding.settings.output_bytes_max = 100'000;
  CHECK(flooding.reply().failure == "reply_too_big");
  Called filling("fill");
  filling.settings.scratch_bytes_max = 10'000'000;
  CHECK(filling.reply().failure == "reply_too_big");
}

TEST_CASE("a cancelled command is killed and says so, and the next in line starts") {
  Called called("hang");
  called.settings.in_flight_max = 1;
  CommandEndpoint endpoint(called.settings, {}, {});
  endpoint.submit({.id = "1-0"});
  endpoint.submit({.id = "2-0"});
  endpoint.cancel("1-0");
  CHECK(Called::wait_for(endpoint).failure == "cancelled");
  Called::turn_while(endpoint, [&] { return std::filesystem::exists(called.settings.folder / "1-0"); });
  CHECK(std::filesystem::exists(called.settings.folder / "2-0"));
  CHECK_FALSE(std::filesystem::exists(called.settings.folder / "1-0"));
}

TEST_CASE("the jail is tried before a command is accepted") {
  Called called("answer");
  CHECK(command_problem(called.settings) == "");
}

TEST_CASE("a command is configured with the names of its secrets, which must be there") {
  TemporaryFolder folder;
  HttpLoop http;
  const EndpointContext context{.http = http, .run_folder = folder.path(), .secret = [](const std::string&) {
                                  return std::optional<std::string>();
                                }};
  const auto config = parse_endpoint_config(
      parse_json(R"({"kind": "command", "command": ["agent", "-p"], "environment": ["AGENT_KEY"]})",
                 "run.json"),
      "run.json", "endpoint", "");
  CHECK_THROWS_WITH(make_endpoint(config, context), Catch::Contains("AGENT_KEY is not set"));
}

namespace {

constexpr const char* k_mark = "81234.5";

ToolSpec tool(const std::string& name) {
  return {.name = name, .description = "a tool", .parameters = R"({"type":"object"})"};
}

/// A conversation with a command that calls tools.
struct Conversation : Called {
  explicit Conversation(const std::string& mode) : Called(mode) {
    settings.command.back() = k_mark;
    settings.tool_program = "/bin/true";
    settings.usd_max = 0.5;
    request = {.id = "4-0",
               .ordinal = 4,
               .messages = {{"user", "make it faster"}},
               .tools = {tool("check"), tool("time")}};
    endpoint = std::make_unique<CommandEndpoint>(settings, std::map<std::string, std::string>(), Clock());
  }
  ModelReply ask() {
    endpoint->submit(request);
    return wait_for(*endpoint);
  }
  /// The next request: the results of what was called.
  void answer(const ModelReply& reply, const std::string& result) {
    request.messages.push_back({.role = "assistant", .text = "", .tool_calls = reply.tool_calls});
    for (const ToolCall& call : reply.tool_calls)
      request.messages.push_back({.role = "tool", .text = result, .tool_calls = {}, .tool_call_id = call.id});
    request.id = "4-" + std::to_string(++calls);
  }
  int sleepers() const {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      std::ifstream stream(entry.path() / "cmdline");
      std::string line;
      std::getline(stream, line);  // empty where the process has just ended
      count += line.starts_with("sleep") && line.find(k_mark) != std::string::npos;
    }
    return count;
  }
  int calls = 0;
  ModelRequest request;
  std::unique_ptr<CommandEndpoint> endpoint;
};

}  // namespace

TEST_CASE(
    "a command calls tools: each ends a model call, the next brings the result, and its end is the answer") {
  Conversation talk("tools");
  CHECK(talk.endpoint->cost_max(talk.request).usd == 0.5);
  const ModelReply first = talk.ask();
  CHECK(first.finish == "tool_calls");
  REQUIRE(first.tool_calls.size() == 1);
  CHECK(first.tool_calls[0].name == "check");
  CHECK(first.tool_calls[0].arguments == R"({"candidate":"c1"})");
  CHECK(first.cost.usd == 0.5);  // all that the session may spend
  talk.answer(first, "c1: passed every check");
  CHECK(talk.endpoint->cost_max(talk.request).usd == 0);
  const ModelReply second = talk.ask();
  REQUIRE(second.tool_calls.size() == 1);
  CHECK(second.tool_calls[0].name == "time");  // "shell" is no tool: it was refused without a model call
  CHECK(second.cost.usd == 0);
  talk.answer(second, "1.1x");
  const ModelReply last = talk.ask();
  CHECK(last.failure == "");
  CHECK(last.finish == "stop");
  CHECK(last.cost.usd == 0);
  CHECK_THAT(last.text, Catch::Contains("c1: passed every check") && Catch::Contains("not offered") &&
                            Catch::Contains("1.1x") && Catch::Contains("over"));
}

TEST_CASE("a session whose conversation is over is told so and ended with all that it started") {
  Conversation talk("tool_then_hang");
  talk.request.tools.push_back(tool("submit"));
  CHECK(talk.ask().tool_calls.at(0).name == "submit");
  CHECK(talk.sleepers() > 0);
  talk.endpoint->end_conversation(3);  // another one
  Called::turn(*talk.endpoint);
  CHECK(talk.sleepers() > 0);
  talk.endpoint->end_conversation(4);
  Called::turn_while(*talk.endpoint, [&] { return talk.sleepers() > 0; });
  CHECK(talk.sleepers() == 0);
  Called::turn_while(*talk.endpoint, [&] { return !std::filesystem::is_empty(talk.settings.folder); });
  CHECK(std::filesystem::is_empty(talk.settings.folder));
}

TEST_CASE(
    "a session that runs out of time between two calls says so at the next, and nothing of it is left") {
  Conversation talk("tool_then_hang");
  talk.settings.total = 1s;
  talk.endpoint =
      std::make_unique<CommandEndpoint>(talk.settings, std::map<std::string, std::string>(), Clock());
  talk.request.tools = {tool("submit")};
  const ModelReply first = talk.ask();
  REQUIRE(first.tool_calls.size() == 1);
  Called::turn_while(*talk.endpoint, [&] { return talk.sleepers() > 0; });
  CHECK(talk.sleepers() == 0);
  talk.answer(first, "late");
  CHECK(talk.ask().failure == "timeout");
}

TEST_CASE("without its session a conversation goes on in a new one, which is given the whole of it") {
  Conversation talk("tools");
  const ModelReply first = talk.ask();
  talk.answer(first, "c1: passed every check");
  talk.endpoint =
      std::make_unique<CommandEndpoint>(talk.settings, std::map<std::string, std::string>(), Clock());
  CHECK(talk.endpoint->cost_max(talk.request).usd == 0.5);
  const ModelReply again = talk.ask();
  CHECK(again.tool_calls.at(0).name == "check");
  const std::string seen = read_text(talk.settings.folder / "4-1" / "request.md");
  CHECK_THAT(seen, Catch::Contains("c1: passed every check") && Catch::Contains("agent-tools"));
}

TEST_CASE("links and garbage among a command's requests are no calls, and the session goes on") {
  Conversation talk("tool_flood");
  const ModelReply reply = talk.ask();
  REQUIRE(reply.tool_calls.size() == 1);
  CHECK(reply.tool_calls[0].name == "check");
}

TEST_CASE(
    "a command that fails says what it cost where it can, and counts as all that it may cost where not") {
  Called failing("fail");
  failing.settings.usd_max = 0.75;
  CHECK(failing.reply().cost.usd == 0.75);
  Called telling("json");
  telling.settings.usd_max = 0.75;
  telling.settings.reply = {.text = "/nothing", .usd = "/total_cost_usd"};
  const ModelReply reply = telling.reply();
  CHECK(reply.failure == "malformed_reply");
  CHECK(reply.cost.usd == 0.25);
}

TEST_CASE("a folder is measured and removed a little at a time, unreadable parts and links too") {
  TemporaryFolder folder;
  const auto scratch = make_scratch(folder.path(), "1-0");
  for (int i = 0; i < 1500; ++i) std::ofstream(scratch / ("f" + std::to_string(i))) << "x";
  std::filesystem::create_directories(scratch / "a/b/c");
  std::ofstream(folder.path() / "outside.txt") << "kept";
  std::filesystem::create_directory_symlink(folder.path(), scratch / "a/link");
  std::filesystem::permissions(scratch / "a/b", std::filesystem::perms::none);
  ScratchMeter meter(scratch);
  int steps = 1;
  while (!meter.exceeds(5'000'000) && steps < 20) ++steps;
  CHECK(steps > 1);
  CHECK(steps < 5);
  ScratchRemover remover;
  remover.add(scratch);
  steps = 0;
  for (; !remover.is_idle() && steps < 100; ++steps) remover.step();
  CHECK(steps > 3);
  CHECK_FALSE(std::filesystem::exists(scratch));
  CHECK(std::filesystem::exists(folder.path() / "outside.txt"));
}
