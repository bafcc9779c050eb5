// SPDX-License-Identifier: Apache-2.0
// Calls of a command: what its end is called, what is given to it and what is left of it.
#include "engine/llm/command_endpoint.h"

#include <fmt/format.h>
#include <poll.h>

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
  TemporaryFolder folder;
  CommandSettings settings;
};

}  // namespace

TEST_CASE("a command's output is the answer, and its folder is gone afterwards") {
  Called called("answer");
  const ModelReply reply = called.reply();
  CHECK(reply.failure == "");
  CHECK(reply.id == "4-0");
  CHECK(reply.text.find("request.json") != std::string::npos);
  CHECK(reply.usage.is_estimated);
  CHECK(std::filesystem::is_empty(called.settings.folder));
}

TEST_CASE("a command's JSON is read by pointers") {
  Called called("json");
  called.settings.reply = {
      .text = "/result", .usd = "/total_cost_usd", .input_tokens = "/usage/input_tokens"};
  const ModelReply reply = called.reply();
  CHECK(reply.text == "faster");
  CHECK(reply.usage.usd == 0.25);
  CHECK(reply.usage.input_tokens == 7);
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
  endpoint.pump();
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
