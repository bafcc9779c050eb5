// SPDX-License-Identifier: Apache-2.0
// Chat completions in and out.
#include "engine/llm/chat_dialect.h"

#include <map>

#include "engine/llm/foreign_json.h"
#include "engine/llm/utf8_text.h"

namespace kernelites {
namespace {

Json chat_message(const ChatMessage& message) {
  Json json = {{"role", message.role}, {"content", message.text}};
  if (!message.tool_call_id.empty()) json["tool_call_id"] = message.tool_call_id;
  for (const ToolCall& call : message.tool_calls)
    json["tool_calls"].push_back({{"id", call.id},
                                  {"type", "function"},
                                  {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  return json;
}

void add_tools(Json& body, const ModelRequest& request) {
  for (const ToolSpec& tool : request.tools)
    body["tools"].push_back({{"type", "function"},
                             {"function",
                              {{"name", tool.name},
                               {"description", tool.description},
                               {"parameters", schema_at(tool.parameters)}}}});
  if (request.tools.empty() || request.tool_choice == "auto") return;
  const bool is_word = request.tool_choice == "none" || request.tool_choice == "required";
  body["tool_choice"] = is_word ? Json(request.tool_choice)
                                : Json{{"type", "function"}, {"function", {{"name", request.tool_choice}}}};
}

std::optional<CallCost> read_usage(const Json& usage) {
  if (!usage.is_object() || !usage.contains("prompt_tokens")) return std::nullopt;
  const std::int64_t input = count_at(usage, "prompt_tokens");
  const std::int64_t cached = std::max(count_at(child_at(usage, "prompt_tokens_details"), "cached_tokens"),
                                       count_at(usage, "prompt_cache_hit_tokens"));
  const Json& details = child_at(usage, "completion_tokens_details");
  return CallCost{.input_tokens = input,
                  .cached_input_tokens = std::min(cached, input),
                  .output_tokens = count_at(usage, "completion_tokens"),
                  .reasoning_tokens = count_at(details, "reasoning_tokens")};
}

/// Text of a message whose content is a string or a list of {"type": "text", "text": ...} parts.
std::string message_text(const Json& message) {
  const Json& content = child_at(message, "content");
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  if (content.is_array())
    for (const Json& part : content) text += text_at(part, "text");
  return text;
}

std::vector<ToolCall> message_tool_calls(const Json& message) {
  std::vector<ToolCall> calls;
  const Json& list = child_at(message, "tool_calls");
  if (!list.is_array()) return calls;
  for (const Json& entry : list) {
    const Json& function = child_at(entry, "function");
    const Json& arguments = child_at(function, "arguments");  // some servers send the object itself
    calls.push_back({.id = text_at(entry, "id"),
                     .name = text_at(function, "name"),
                     .arguments = arguments.is_object() ? arguments.dump() : text_at(function, "arguments")});
  }
  return calls;
}

/// A stream's message while it grows.
struct GrowingMessage {
  std::string content, refusal, finish;
  std::map<std::int64_t, ToolCall> calls;

  void add(const Json& choice) {
    const Json& delta = child_at(choice, "delta");
    content += text_at(delta, "content");
    refusal += text_at(delta, "refusal");
    if (const std::string reason = text_at(choice, "finish_reason"); !reason.empty()) finish = reason;
    const Json& list = child_at(delta, "tool_calls");
    if (!list.is_array()) return;
    for (const Json& part : list) {
      ToolCall& call = calls[count_at(part, "index")];
      if (const std::string id = text_at(part, "id"); !id.empty()) call.id = id;
      const Json& function = child_at(part, "function");
      call.name += text_at(function, "name");
      call.arguments += text_at(function, "arguments");
    }
  }

  Json choice() const {
    Json message = {{"content", content}, {"refusal", refusal}};
    for (const auto& [index, call] : calls)
      message["tool_calls"].push_back(
          {{"id", call.id}, {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    return {{"message", std::move(message)}, {"finish_reason", finish}};
  }
};

}  // namespace

std::string chat_body(const ModelRequest& request, const ModelShape& shape) {
  Json body = {{"model", shape.model}, {"messages", Json::array()}};
  for (const ChatMessage& message : request.messages) body["messages"].push_back(chat_message(message));
  add_tools(body, request);
  if (const AnswerSchema& answer = request.answer_schema; !answer.schema.empty()) {
    const Json schema = schema_at(answer.schema);
    body["response_format"] = {
        {"type", "json_schema"},
        {"json_schema", {{"name", answer.name}, {"strict", is_closed_schema(schema)}, {"schema", schema}}}};
  }
  body[shape.output_limit_key] = request.output_tokens_max;
  if (request.temperature >= 0) body["temperature"] = request.temperature;
  if (shape.streams) {
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
  }
  return finish_body(std::move(body), request, shape, {{"reasoning_effort", request.reasoning_effort}});
}

void read_chat(ModelOutcome& outcome, const Json& document) {
  outcome.usage = read_usage(child_at(document, "usage"));
  const Json& choices = child_at(document, "choices");
  if (!choices.is_array() || choices.empty()) {
    outcome.failure = "malformed_reply";
    outcome.message = "the answer has no choices";
    return;
  }
  const Json& choice = choices.front();
  const Json& message = child_at(choice, "message");
  outcome.text = message_text(message);
  outcome.tool_calls = message_tool_calls(message);
  const std::string finish = text_at(choice, "finish_reason");
  outcome.finish = finish == "function_call" ? "tool_calls" : finish;
  const std::string refusal = text_at(message, "refusal");
  if (finish == "length") {
    outcome.failure = "length";
    outcome.message = "the answer was cut off at its token limit";
  } else if (finish == "content_filter") {
    outcome.failure = "content_filter";
    outcome.message = "the answer was withheld by the server's content filter";
  } else if (!refusal.empty()) {
    outcome.failure = "refused";
    outcome.message = "the model refused: " + one_line(refusal);
  }
}

JoinedStream join_chat(const std::vector<ServerSentEvent>& events) {
  GrowingMessage message;
  JoinedStream joined{.document = Json::object()};
  for (const ServerSentEvent& event : events) {
    if (event.data == "[DONE]") joined.is_complete = true;
    const Json chunk = parse_foreign_json(event.data);
    if (!chunk.is_object()) continue;
    for (const char* key : {"model", "usage", "error"})
      if (!child_at(chunk, key).is_null()) joined.document[key] = chunk.at(key);
    const Json& choices = child_at(chunk, "choices");
    if (choices.is_array() && !choices.empty()) message.add(choices.front());
  }
  joined.is_complete |= !message.finish.empty();
  joined.document["choices"].push_back(message.choice());
  return joined;
}

}  // namespace kernelites
