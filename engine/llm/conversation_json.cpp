// SPDX-License-Identifier: Apache-2.0
// Messages, tool calls and schemas in and out of JSON.
#include "engine/llm/conversation_json.h"

#include <fmt/format.h>

#include "engine/core/error.h"
#include "engine/llm/foreign_json.h"

namespace kernelites {
namespace {

Json schema_json(const std::string& text) {
  Json schema = parse_foreign_json(text);
  return schema.is_discarded() ? Json(text) : schema;
}

std::string schema_text(const Json& schema) {
  return schema.is_string() ? schema.get<std::string>() : schema.dump();
}

void check_list(const Json& json, const std::string& where, const std::string& path) {
  if (!json.is_array()) throw ConfigError(where, path, "expected a list");
}

}  // namespace

void to_json(Json& json, const ToolCall& call) {
  json = {{"id", call.id}, {"name", call.name}, {"arguments", call.arguments}};
}

void to_json(Json& json, const ChatMessage& message) {
  json = {{"role", message.role}, {"text", message.text}};
  if (!message.tool_calls.empty()) json["tool_calls"] = message.tool_calls;
  if (!message.tool_call_id.empty()) json["tool_call_id"] = message.tool_call_id;
}

std::vector<ChatMessage> parse_messages(const Json& json, const std::string& where, const std::string& path) {
  check_list(json, where, path);
  std::vector<ChatMessage> messages;
  for (std::size_t i = 0; i < json.size(); ++i) {
    ObjectReader reader(json.at(i), where, fmt::format("{}[{}]", path, i));
    ChatMessage message{.role = reader.required<std::string>("role"),
                        .text = reader.required<std::string>("text")};
    if (reader.has("tool_calls"))
      message.tool_calls = parse_tool_calls(reader.member("tool_calls"), where, reader.field("tool_calls"));
    message.tool_call_id = reader.optional<std::string>("tool_call_id", "");
    reader.finish();
    messages.push_back(std::move(message));
  }
  return messages;
}

std::vector<ToolCall> parse_tool_calls(const Json& json, const std::string& where, const std::string& path) {
  check_list(json, where, path);
  std::vector<ToolCall> calls;
  for (std::size_t i = 0; i < json.size(); ++i) {
    ObjectReader reader(json.at(i), where, fmt::format("{}[{}]", path, i));
    calls.push_back({.id = reader.optional<std::string>("id", fmt::format("call_{}", i)),
                     .name = reader.required<std::string>("name"),
                     .arguments = reader.has("arguments") ? schema_text(reader.member("arguments")) : "{}"});
    reader.finish();
  }
  return calls;
}

Json request_extras(const ModelRequest& request) {
  Json extras = Json::object();
  for (const ToolSpec& tool : request.tools)
    extras["tools"].push_back({{"name", tool.name},
                               {"description", tool.description},
                               {"parameters", schema_json(tool.parameters)}});
  if (!request.tools.empty()) extras["tool_choice"] = request.tool_choice;
  const AnswerSchema& answer = request.answer_schema;
  if (!answer.schema.empty())
    extras["answer_schema"] = {{"name", answer.name}, {"schema", schema_json(answer.schema)}};
  if (!request.reasoning_effort.empty()) extras["reasoning_effort"] = request.reasoning_effort;
  if (request.stable_messages > 0) extras["stable_messages"] = request.stable_messages;
  return extras;
}

void apply_request_extras(ModelRequest& request, const Json& extras, const std::string& where) {
  ObjectReader reader(extras, where);
  request.tools.clear();
  if (reader.has("tools")) {
    const Json& tools = reader.member("tools");
    check_list(tools, where, reader.field("tools"));
    for (std::size_t i = 0; i < tools.size(); ++i) {
      ObjectReader tool(tools[i], where, fmt::format("{}[{}]", reader.field("tools"), i));
      request.tools.push_back({.name = tool.required<std::string>("name"),
                               .description = tool.optional<std::string>("description", ""),
                               .parameters = schema_text(tool.member("parameters"))});
      tool.finish();
    }
  }
  request.tool_choice = reader.optional<std::string>("tool_choice", "auto");
  request.answer_schema = {};
  if (reader.has("answer_schema")) {
    ObjectReader answer(reader.member("answer_schema"), where, reader.field("answer_schema"));
    request.answer_schema = {.name = answer.required<std::string>("name"),
                             .schema = schema_text(answer.member("schema"))};
    answer.finish();
  }
  request.reasoning_effort = reader.optional<std::string>("reasoning_effort", "");
  request.stable_messages = reader.optional<std::size_t>("stable_messages", 0);
  reader.finish();
}

}  // namespace kernelites
