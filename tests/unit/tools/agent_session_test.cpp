// SPDX-License-Identifier: Apache-2.0
// A coding agent in the jail that really calls tools: through the program's own commands and as an MCP client.
#include <poll.h>

#include "engine/llm/command_endpoint.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

constexpr const char* k_agent = R"(
kernelites agent-tools list
echo '__global__ void k() {}' >k.cu
mkdir work && cd work
kernelites agent-tools check --source ../k.cu --note 'first try' || echo "exit code $?"
printf '%s\n' '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}' \
  '{"jsonrpc":"2.0","method":"notifications/initialized"}' \
  '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"check","arguments":{"candidate":"c1"}}}' |
  kernelites agent-tools mcp
cat ../.kernelites/mcp.json
cat /etc/shadow ../../../run.db 2>/dev/null
echo over
)";

ModelReply wait_for(CommandEndpoint& endpoint) {
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

}  // namespace

TEST_CASE(
    "an agent's own commands and its MCP client reach the run's tools, from its folder and those below") {
  const TemporaryFolder folder;
  CommandSettings settings;
  settings.command = {"/bin/sh", "-c", k_agent};
  settings.folder = folder.path() / "agents";
  settings.total = 30s;
  settings.tool_program =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "../../../tools/kernelites";
  settings.tool_program = std::filesystem::canonical(settings.tool_program);
  CommandEndpoint endpoint(settings, {}, {});
  ModelRequest request{
      .id = "7-0",
      .ordinal = 7,
      .messages = {{"user", "make it faster"}},
      .tools = {{.name = "check", .description = "Proves it.", .parameters = R"({"type":"object"})"}}};
  int calls = 0;
  const auto next = [&](const std::string& result) {
    if (!result.empty()) {
      request.messages.push_back({.role = "tool", .text = result, .tool_calls = {}, .tool_call_id = "?"});
      request.messages.back().tool_call_id =
          request.messages[request.messages.size() - 2].tool_calls.at(0).id;
    }
    request.id = "7-" + std::to_string(calls++);
    endpoint.submit(request);
    const ModelReply reply = wait_for(endpoint);
    CAPTURE(reply.failure, reply.message);
    REQUIRE(reply.failure == "");
    request.messages.push_back({.role = "assistant", .text = reply.text, .tool_calls = reply.tool_calls});
    return reply;
  };
  const ModelReply first = next("");
  REQUIRE(first.tool_calls.size() == 1);
  CHECK_THAT(first.tool_calls[0].arguments, Contains("__global__ void k() {}") && Contains("first try"));
  const ModelReply second = next("error: c1 does not compile");
  REQUIRE(second.tool_calls.size() == 1);
  CHECK(second.tool_calls[0].arguments == R"({"candidate":"c1"})");
  const std::string text = next("c1 passed").text;
  CHECK_THAT(text,
             Contains("Proves it.") && Contains("error: c1 does not compile") && Contains("exit code 1"));
  CHECK_THAT(text, Contains(R"("text":"c1 passed"}],"isError":false)") && Contains("\"agent-tools\""));
  CHECK_THAT(text, Contains("over") && !Contains("root:"));
}
