// SPDX-License-Identifier: Apache-2.0
// Tools through files: calls arrive and are answered once, whatever the other side leaves in the folder; and as MCP.
#include "engine/llm/tool_channel.h"

#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "engine/core/json.h"
#include "engine/llm/mcp_server.h"
#include "engine/llm/tool_client.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
namespace fs = std::filesystem;

namespace {

const std::vector<ToolSpec> k_tools{
    {.name = "check", .description = "Proves a kernel.", .parameters = R"({"type":"object"})"}};

std::optional<ToolCall> wait_for(ToolChannel& channel) {
  for (int i = 0; i < 200; ++i) {
    if (auto call = channel.poll()) return call;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return std::nullopt;
}

Json answer_to(const Json& message, const ToolRunner& run = {}) {
  const auto answer = mcp_answer(message.dump(), k_tools, run);
  return answer ? Json::parse(*answer) : Json();
}

Json request(const std::string& method, const Json& params = Json::object()) {
  return {{"jsonrpc", "2.0"}, {"id", 7}, {"method", method}, {"params", params}};
}

}  // namespace

TEST_CASE("a call through the channel is answered once, to the one who made it") {
  TemporaryFolder scratch;
  ToolChannel channel(scratch.path(), "secret", k_tools);
  ToolClient client(scratch.path() / k_tool_channel_folder);
  CHECK(client.tools() == k_tools);
  ToolResult result;
  std::thread program(
      [&] { result = client.call("check", R"({"candidate":"c1"})", std::chrono::seconds(5)); });
  const auto call = wait_for(channel);
  REQUIRE(call);
  CHECK(call->name == "check");
  CHECK(call->arguments == R"({"candidate":"c1"})");
  CHECK_FALSE(channel.poll());
  CHECK(channel.answer(call->id, "passed \xFF", false));
  program.join();
  CHECK(result.text == "passed \xEF\xBF\xBD");
  CHECK_FALSE(result.is_error);
}

TEST_CASE("a call that nobody answers ends at its deadline") {
  TemporaryFolder scratch;
  ToolChannel channel(scratch.path(), "secret", k_tools);
  ToolClient client(scratch.path() / k_tool_channel_folder);
  const ToolResult result = client.call("check", "{}", std::chrono::milliseconds(120));
  CHECK(result.is_error);
  CHECK_THAT(result.text, Catch::Contains("did not answer"));
}

TEST_CASE("links, pipes, folders, floods and strangers in the folder are no requests and block nothing") {
  TemporaryFolder scratch;
  ToolChannel channel(scratch.path(), "secret", k_tools);
  const fs::path requests = scratch.path() / k_tool_channel_folder / "requests";
  const fs::path outside = scratch.path() / "outside.json";
  std::ofstream(outside) << R"({"version":1,"token":"secret","name":"check","arguments":"{}"})";
  fs::create_symlink(outside, requests / "link.json");
  mkfifo((requests / "pipe.json").c_str(), 0600);
  fs::create_directory(requests / "folder.json");
  std::ofstream(requests / "big.json") << std::string(k_tool_request_bytes_max + 1, ' ');
  std::ofstream(requests / "stranger.json")
      << R"({"version":1,"token":"other","name":"check","arguments":"{}"})";
  std::ofstream(requests / "torn.json") << "{\"token\"";
  std::ofstream(requests / "..hidden.json") << "{}";
  CHECK_FALSE(channel.poll());
  CHECK(fs::exists(outside));
  // A reply's place that is taken is not written through.
  fs::create_symlink(outside, scratch.path() / k_tool_channel_folder / "replies" / "x.tmp");
  CHECK_FALSE(channel.answer("x", "text", false));
  CHECK_FALSE(channel.answer("../../x", "text", false));
  CHECK(read_text(outside).find("secret") != std::string::npos);
}

TEST_CASE("swapping the folder for a link does not lead the run elsewhere") {
  TemporaryFolder scratch;
  TemporaryFolder elsewhere;
  ToolChannel channel(scratch.path(), "secret", k_tools);
  const fs::path replies = scratch.path() / k_tool_channel_folder / "replies";
  fs::rename(replies, scratch.path() / "moved");
  fs::create_directory_symlink(elsewhere.path(), replies);
  CHECK(channel.answer("x", "text", false));
  CHECK(fs::is_empty(elsewhere.path()));
}

TEST_CASE("the server greets, lists and calls tools as MCP wants it") {
  const Json hello = answer_to(request("initialize", {{"protocolVersion", "2025-03-26"}}));
  CHECK(hello.at("id") == 7);
  CHECK(hello.at("result").at("protocolVersion") == "2025-03-26");
  CHECK(hello.at("result").at("capabilities").contains("tools"));
  CHECK(answer_to({{"jsonrpc", "2.0"}, {"method", "notifications/initialized"}}).is_null());
  CHECK(answer_to(request("ping")).at("result").empty());
  const Json list = answer_to(request("tools/list"));
  CHECK(list.at("result").at("tools").at(0).at("inputSchema").at("type") == "object");
  const Json called =
      answer_to(request("tools/call", {{"name", "check"}, {"arguments", {{"candidate", "c1"}}}}),
                [](const std::string& name, const std::string& arguments) {
                  return ToolResult{name + " " + arguments, true};
                });
  CHECK(called.at("result").at("content").at(0).at("text") == R"(check {"candidate":"c1"})");
  CHECK(called.at("result").at("isError") == true);
}

TEST_CASE("what is no request of the protocol gets its error code, and never an exception") {
  const std::pair<std::string, int> rows[] = {
      {"{", -32700},
      {"[]", -32600},
      {"7", -32600},
      {R"({"id":1})", -32600},
      {R"({"id":{},"method":"ping"})", -32600},
      {R"({"id":1,"method":"dance"})", -32601},
      {R"({"id":1,"method":"tools/call"})", -32602},
      {R"({"id":1,"method":"tools/call","params":{"name":"rm"}})", -32602},
      {R"({"id":1,"method":"tools/call","params":[]})", -32602},
      {"{\"id\":1,\"method\":\"\xFF\"}", -32700}};
  for (const auto& [line, code] : rows) {
    INFO(line);
    const auto answer = mcp_answer(line, k_tools, {});
    REQUIRE(answer);
    CHECK(Json::parse(*answer).at("error").at("code") == code);
  }
}
