// SPDX-License-Identifier: Apache-2.0
// What agents ask of tools: arguments, MCP lines, and request files of a program in a jail.
#include "engine/llm/mcp_server.h"
#include "engine/llm/tool_channel.h"
#include "engine/variation/agent_tools.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/fuzz/fuzzed_parser.h"

namespace kernelites::fuzz {
namespace {

const std::vector<ToolSpec>& some_tools() {
  static const std::vector<ToolSpec> k_tools{
      {"check", "checks a kernel", R"({"type": "object", "properties": {}})"}};
  return k_tools;
}

void fuzz_arguments(std::string_view input) {
  for (const AgentTool& tool : agent_tools()) {
    const auto read = read_tool_arguments(tool, input);
    if (const auto* arguments = std::get_if<ToolArguments>(&read)) {
      demand(arguments->edits.size() <= k_edits_max, "edits are few");
      demand(arguments->note.find('\n') == std::string::npos, "a note is one line");
    } else {
      demand(!std::get<Rejection>(read).reason.empty(), "a rejection has a reason");
    }
  }
}

void fuzz_mcp(std::string_view input) {
  const auto answer = mcp_answer(input, some_tools(), [](const std::string&, const std::string& arguments) {
    return ToolResult{.text = arguments};
  });
  if (!answer) return;
  demand(answer->find('\n') == std::string::npos, "an answer is one line");
  demand(!Json::parse(*answer, nullptr, false).is_discarded(), "an answer is JSON");
}

void fuzz_request_file(std::string_view input) {
  static const FuzzFolder folder;
  ToolChannel channel(folder.path(), "0123456789abcdef", some_tools());
  const std::string home = k_tool_channel_folder;
  folder.write(home + "/requests/a1.json", input);
  if (const auto call = channel.poll()) {
    demand(call->name.size() <= k_tool_request_bytes_max, "a name is short");
    channel.answer(call->id, "done", false);
  }
  std::filesystem::remove_all(folder.path() / home);
}

}  // namespace

void fuzz_agent(std::string_view input) {
  fuzz_arguments(input);
  fuzz_mcp(input);
  fuzz_request_file(input);
}

}  // namespace kernelites::fuzz
