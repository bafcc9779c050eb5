// SPDX-License-Identifier: Apache-2.0
// Requests as JSON and as Markdown.
#include "engine/llm/request_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "engine/core/json.h"
#include "engine/llm/conversation_json.h"

namespace kernelites {
namespace {

constexpr int k_spool_version = 1;

}  // namespace

bool is_file_safe(const std::string& id) {
  return !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_';
  });
}

std::string request_json(const ModelRequest& request, const std::string& digest) {
  Json json = {{"version", k_spool_version},
               {"id", request.id},
               {"ordinal", request.ordinal},
               {"digest", digest},
               {"output_tokens_max", request.output_tokens_max},
               {"messages", request.messages}};
  json.update(request_extras(request));
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string request_markdown(const ModelRequest& request) {
  std::string text;
  for (const ChatMessage& message : request.messages) {
    const std::string of = message.tool_call_id.empty() ? "" : " " + message.tool_call_id;
    text += fmt::format("\n<!-- {}{} -->\n\n{}\n", message.role, of, message.text);
    for (const ToolCall& call : message.tool_calls)
      text += fmt::format("\n<!-- call {}: {} -->\n\n{}\n", call.id, call.name, call.arguments);
  }
  for (const ToolSpec& tool : request.tools)
    text += fmt::format("\n<!-- tool {} -->\n\n{}\n\n{}\n", tool.name, tool.description, tool.parameters);
  if (const AnswerSchema& answer = request.answer_schema; !answer.schema.empty())
    text += fmt::format("\n<!-- the answer is JSON of this schema -->\n\n{}\n", answer.schema);
  return text;
}

}  // namespace kernelites
