// SPDX-License-Identifier: Apache-2.0
// Messages in and out. A form that the answer must have is asked for as a tool that must be called, which every model
// of this protocol knows, and its arguments are handed on as the text.
#include "engine/llm/messages_dialect.h"

#include <map>

#include "engine/llm/foreign_json.h"
#include "engine/llm/utf8_text.h"

namespace kernelites {
namespace {

/// Prefix of the tool that stands for a form, so that no tool of the request has its name.
constexpr std::string_view k_answer_prefix = "answer_";

struct FinishRow {
  const char* reason;
  const char* finish;
};
constexpr FinishRow k_finish_table[] = {{"end_turn", "stop"},
                                        {"stop_sequence", "stop"},
                                        {"pause_turn", "stop"},
                                        {"max_tokens", "length"},
                                        {"model_context_window_exceeded", "length"},
                                        {"tool_use", "tool_calls"},
                                        {"refusal", "content_filter"}};

Json text_block(const std::string& text) { return {{"type", "text"}, {"text", text}}; }

Json parsed_arguments(const std::string& arguments) {
  Json json = parse_foreign_json(arguments);
  return json.is_object() ? json : Json::object();
}

Json blocks_of(const ChatMessage& message) {
  Json blocks = Json::array();
  if (message.role == "tool") {
    blocks.push_back(
        {{"type", "tool_result"}, {"tool_use_id", message.tool_call_id}, {"content", message.text}});
    return blocks;
  }
  if (!message.text.empty()) blocks.push_back(text_block(message.text));  // empty ones are refused
  for (const ToolCall& call : message.tool_calls)
    blocks.push_back({{"type", "tool_use"},
                      {"id", call.id},
                      {"name", call.name},
                      {"input", parsed_arguments(call.arguments)}});
  return blocks;
}

/// System messages apart, neighbours of one role joined, the last block of the stable prefix marked.
void add_conversation(Json& body, const ModelRequest& request) {
  Json system = Json::array(), messages = Json::array();
  for (std::size_t i = 0; i < request.messages.size(); ++i) {
    const ChatMessage& message = request.messages[i];
    Json blocks = blocks_of(message);
    if (blocks.empty()) continue;
    if (i + 1 == request.stable_messages) blocks.back()["cache_control"] = {{"type", "ephemeral"}};
    const std::string role = message.role == "assistant" ? "assistant" : "user";
    Json* target = &system;
    if (message.role != "system") {
      if (messages.empty() || messages.back().at("role") != role)
        messages.push_back({{"role", role}, {"content", Json::array()}});
      target = &messages.back()["content"];
    }
    for (Json& block : blocks) target->push_back(std::move(block));
  }
  if (!system.empty()) body["system"] = std::move(system);
  body["messages"] = std::move(messages);
}

std::string answer_tool(const AnswerSchema& answer) { return std::string(k_answer_prefix) + answer.name; }

void add_tools(Json& body, const ModelRequest& request) {
  for (const ToolSpec& tool : request.tools)
    body["tools"].push_back({{"name", tool.name},
                             {"description", tool.description},
                             {"input_schema", schema_at(tool.parameters)}});
  const AnswerSchema& answer = request.answer_schema;
  if (!answer.schema.empty())
    body["tools"].push_back({{"name", answer_tool(answer)},
                             {"description", "Gives the answer. Call it once, when you are done."},
                             {"input_schema", schema_at(answer.schema)}});
  const std::string& choice = request.tool_choice;
  if (request.tools.empty()) {
    if (!answer.schema.empty()) body["tool_choice"] = {{"type", "tool"}, {"name", answer_tool(answer)}};
  } else if (choice == "none" && !answer.schema.empty()) {
    body["tool_choice"] = {{"type", "tool"}, {"name", answer_tool(answer)}};
  } else if (!answer.schema.empty() && choice == "auto") {
    body["tool_choice"] = {{"type", "any"}};  // to call no tool would be to answer without the form
  } else if (choice == "none") {
    body["tool_choice"] = {{"type", "none"}};
  } else if (choice == "required") {
    body["tool_choice"] = {{"type", "any"}};
  } else if (choice != "auto") {
    body["tool_choice"] = {{"type", "tool"}, {"name", choice}};
  }
}

/// Thinking is left out where it would be refused: with a forced tool, and after tool calls, whose thoughts would have
/// to be sent back.
Json thinking(const Json& body, const ModelRequest& request) {
  for (const ChatMessage& message : request.messages)
    if (!message.tool_calls.empty()) return Json::object();
  const std::string choice = text_at(child_at(body, "tool_choice"), "type");
  const int tokens = request.reasoning_effort == "low"      ? 2048
                     : request.reasoning_effort == "medium" ? 8192
                                                            : 24576;
  constexpr int k_least = 1024;
  const int room = std::min(tokens, request.output_tokens_max / 2);
  if (choice == "any" || choice == "tool" || room < k_least) return Json::object();
  return {{"thinking", {{"type", "enabled"}, {"budget_tokens", room}}}};
}

std::optional<CallCost> read_usage(const Json& usage) {
  if (!usage.is_object() || !usage.contains("input_tokens")) return std::nullopt;
  const std::int64_t cached = count_at(usage, "cache_read_input_tokens");
  const std::int64_t written = count_at(usage, "cache_creation_input_tokens");
  return CallCost{.input_tokens = count_at(usage, "input_tokens") + cached + written,
                  .cached_input_tokens = cached,
                  .output_tokens = count_at(usage, "output_tokens"),
                  .cache_write_tokens = written};
}

void read_block(ModelOutcome& outcome, const Json& block) {
  if (text_at(block, "type") == "text") outcome.text += text_at(block, "text");
  if (text_at(block, "type") != "tool_use") return;
  const Json& input = child_at(block, "input");
  std::string arguments = input.is_string() ? input.get<std::string>()
                          : input.is_null() ? "{}"
                                            : input.dump();
  const std::string name = text_at(block, "name");
  if (name.rfind(k_answer_prefix, 0) == 0) {
    outcome.text = std::move(arguments);
  } else {
    outcome.tool_calls.push_back(
        {.id = text_at(block, "id"), .name = name, .arguments = std::move(arguments)});
  }
}

/// A stream's document while it grows.
struct GrowingDocument {
  Json document = Json::object();
  std::map<std::int64_t, Json> blocks;
  bool is_complete = false;

  void add(const Json& data) {
    const std::string type = text_at(data, "type");
    if (type == "message_start" && child_at(data, "message").is_object()) document = data.at("message");
    if (type == "content_block_start") blocks[count_at(data, "index")] = child_at(data, "content_block");
    if (type == "content_block_delta") grow(blocks[count_at(data, "index")], child_at(data, "delta"));
    if (type == "message_delta") {
      document["stop_reason"] = text_at(child_at(data, "delta"), "stop_reason");
      if (child_at(data, "usage").is_object() && child_at(document, "usage").is_object())
        document["usage"].update(data.at("usage"));
    }
    if (type == "message_stop") is_complete = true;
    if (type == "error") document["error"] = child_at(data, "error");
  }

  static void grow(Json& block, const Json& delta) {
    if (!block.is_object()) block = Json::object();
    if (text_at(delta, "type") == "text_delta") append(block["text"], text_at(delta, "text"));
    if (text_at(delta, "type") == "input_json_delta")  // "input" is an empty object before its text comes
      append(block["input"], text_at(delta, "partial_json"));
  }

  static void append(Json& text, const std::string& more) {
    if (!text.is_string()) text = "";
    text.get_ref<std::string&>() += more;
  }
};

}  // namespace

std::string messages_body(const ModelRequest& request, const ModelShape& shape) {
  Json body = {{"model", shape.model}, {"max_tokens", request.output_tokens_max}};
  add_tools(body, request);
  add_conversation(body, request);
  if (request.temperature >= 0) body["temperature"] = request.temperature;
  if (shape.streams) body["stream"] = true;
  Json effort = thinking(body, request);
  return finish_body(std::move(body), request, shape, std::move(effort));
}

void read_messages(ModelOutcome& outcome, const Json& document) {
  outcome.usage = read_usage(child_at(document, "usage"));
  const Json& content = child_at(document, "content");
  if (!content.is_array()) {
    outcome.failure = "malformed_reply";
    outcome.message = "the answer has no content";
    return;
  }
  for (const Json& block : content) read_block(outcome, block);
  const std::string reason = text_at(document, "stop_reason");
  for (const FinishRow& row : k_finish_table)
    if (reason == row.reason) outcome.finish = row.finish;
  if (outcome.finish == "tool_calls" && outcome.tool_calls.empty())
    outcome.finish = "stop";  // the form's tool
  if (outcome.finish == "length") {
    outcome.failure = "length";
    outcome.message = "the answer was cut off at its token limit";
  } else if (outcome.finish == "content_filter") {
    outcome.failure = "refused";
    outcome.message = "the model refused";
  }
}

JoinedStream join_messages(const std::vector<ServerSentEvent>& events) {
  GrowingDocument growing;
  for (const ServerSentEvent& event : events) {
    const Json data = parse_foreign_json(event.data);
    if (data.is_object()) growing.add(data);
  }
  growing.document["content"] = Json::array();
  for (auto& [index, block] : growing.blocks) growing.document["content"].push_back(std::move(block));
  return {.document = std::move(growing.document), .is_complete = growing.is_complete};
}

}  // namespace kernelites
