// SPDX-License-Identifier: Apache-2.0
// The digest of a request: every text with its length, so that no two requests share one.
#include "engine/llm/endpoint.h"

#include <fmt/format.h>

#include <initializer_list>

#include "engine/core/digest.h"
#include "engine/llm/foreign_json.h"

namespace kernelites {

namespace {

void append(std::string& joined, std::initializer_list<std::string_view> texts) {
  for (const std::string_view text : texts) joined += fmt::format("{}:", text.size());
  for (const std::string_view text : texts) joined.append(text);
}

/// What requests did not have when the first replies were recorded is marked, and left out where unused.
void append_marked(std::string& joined, std::string_view mark,
                   std::initializer_list<std::string_view> texts) {
  joined.append(mark).append("=");
  append(joined, texts);
}

/// A schema that went through a database and back has other white space, and is the same.
std::string compact(const std::string& schema) {
  const Json json = parse_foreign_json(schema);
  return json.is_discarded() ? schema : json.dump();
}

}  // namespace

std::string prompt_digest(const ModelRequest& request) {
  std::string joined;
  for (const ChatMessage& message : request.messages) {
    append(joined, {message.role, message.text});
    for (const ToolCall& call : message.tool_calls)
      append_marked(joined, "call", {call.id, call.name, call.arguments});
    if (!message.tool_call_id.empty()) append_marked(joined, "result_of", {message.tool_call_id});
  }
  for (const ToolSpec& tool : request.tools)
    append_marked(joined, "tool", {tool.name, tool.description, compact(tool.parameters)});
  if (!request.tools.empty() && request.tool_choice != "auto")
    append_marked(joined, "choice", {request.tool_choice});
  if (!request.answer_schema.schema.empty())
    append_marked(joined, "schema", {request.answer_schema.name, compact(request.answer_schema.schema)});
  if (!request.reasoning_effort.empty()) append_marked(joined, "effort", {request.reasoning_effort});
  return digest(joined);
}

std::size_t request_bytes(const ModelRequest& request) {
  constexpr std::size_t k_message = 16, k_tool = 32;  // names of roles and members
  std::size_t bytes = request.answer_schema.schema.size();
  for (const ChatMessage& message : request.messages) {
    bytes += message.role.size() + message.text.size() + message.tool_call_id.size() + k_message;
    for (const ToolCall& call : message.tool_calls)
      bytes += call.id.size() + call.name.size() + call.arguments.size() + k_message;
  }
  for (const ToolSpec& tool : request.tools)
    bytes += tool.name.size() + tool.description.size() + tool.parameters.size() + k_tool;
  return bytes;
}

std::int64_t estimated_tokens(std::size_t bytes) { return static_cast<std::int64_t>((3 * bytes + 9) / 10); }

std::int64_t most_tokens(const ModelRequest& request) {
  constexpr std::size_t k_servers_words = 64, k_servers_words_on_tools = 1024;
  return static_cast<std::int64_t>(request_bytes(request) + k_servers_words +
                                   (request.tools.empty() ? 0 : k_servers_words_on_tools));
}

CallCost estimated_cost(const ModelRequest& request, std::string_view answer) {
  return {.input_tokens = estimated_tokens(request_bytes(request)),
          .output_tokens = estimated_tokens(answer.size()),
          .is_estimated = true};
}

}  // namespace kernelites
