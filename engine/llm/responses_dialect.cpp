// SPDX-License-Identifier: Apache-2.0
// Responses in and out.
#include "engine/llm/responses_dialect.h"

#include "engine/llm/foreign_json.h"
#include "engine/llm/utf8_text.h"

namespace kernelites {
namespace {

void add_items(Json& input, const ChatMessage& message) {
  if (message.role == "tool") {
    input.push_back(
        {{"type", "function_call_output"}, {"call_id", message.tool_call_id}, {"output", message.text}});
    return;
  }
  if (!message.text.empty() || message.tool_calls.empty())
    input.push_back({{"role", message.role}, {"content", message.text}});
  for (const ToolCall& call : message.tool_calls)
    input.push_back({{"type", "function_call"},
                     {"call_id", call.id},
                     {"name", call.name},
                     {"arguments", call.arguments}});
}

void add_tools(Json& body, const ModelRequest& request) {
  for (const ToolSpec& tool : request.tools)
    body["tools"].push_back({{"type", "function"},
                             {"name", tool.name},
                             {"description", tool.description},
                             {"parameters", schema_at(tool.parameters)},
                             {"strict", false}});
  if (request.tools.empty() || request.tool_choice == "auto") return;
  const bool is_word = request.tool_choice == "none" || request.tool_choice == "required";
  body["tool_choice"] =
      is_word ? Json(request.tool_choice) : Json{{"type", "function"}, {"name", request.tool_choice}};
}

std::optional<CallCost> read_usage(const Json& usage) {
  if (!usage.is_object() || !usage.contains("input_tokens")) return std::nullopt;
  const std::int64_t input = count_at(usage, "input_tokens");
  const std::int64_t cached = count_at(child_at(usage, "input_tokens_details"), "cached_tokens");
  return CallCost{.input_tokens = input,
                  .cached_input_tokens = std::min(cached, input),
                  .output_tokens = count_at(usage, "output_tokens"),
                  .reasoning_tokens = count_at(child_at(usage, "output_tokens_details"), "reasoning_tokens")};
}

void read_item(ModelOutcome& outcome, const Json& item) {
  if (text_at(item, "type") == "function_call")
    outcome.tool_calls.push_back({.id = text_at(item, "call_id"),
                                  .name = text_at(item, "name"),
                                  .arguments = text_at(item, "arguments")});
  const Json& content = child_at(item, "content");
  if (text_at(item, "type") != "message" || !content.is_array()) return;
  for (const Json& part : content) {
    outcome.text += text_at(part, "text");
    const std::string refusal = text_at(part, "refusal");
    if (refusal.empty()) continue;
    outcome.failure = "refused";
    outcome.message = "the model refused: " + one_line(refusal);
  }
}

void read_finish(ModelOutcome& outcome, const Json& document) {
  outcome.finish = outcome.tool_calls.empty() ? "stop" : "tool_calls";
  if (text_at(document, "status") != "incomplete") return;
  const bool is_filtered = text_at(child_at(document, "incomplete_details"), "reason") == "content_filter";
  outcome.finish = is_filtered ? "content_filter" : "length";
  outcome.failure = outcome.finish;
  outcome.message = is_filtered ? "the answer was withheld by the server's content filter"
                                : "the answer was cut off at its token limit";
}

}  // namespace

std::string responses_body(const ModelRequest& request, const ModelShape& shape) {
  Json body = {{"model", shape.model}, {"input", Json::array()}, {"store", false}};
  for (const ChatMessage& message : request.messages) add_items(body["input"], message);
  add_tools(body, request);
  if (const AnswerSchema& answer = request.answer_schema; !answer.schema.empty()) {
    const Json schema = schema_at(answer.schema);
    body["text"] = {{"format",
                     {{"type", "json_schema"},
                      {"name", answer.name},
                      {"strict", is_closed_schema(schema)},
                      {"schema", schema}}}};
  }
  body["max_output_tokens"] = request.output_tokens_max;
  if (request.temperature >= 0) body["temperature"] = request.temperature;
  if (shape.streams) body["stream"] = true;
  return finish_body(std::move(body), request, shape,
                     {{"reasoning", {{"effort", request.reasoning_effort}}}});
}

void read_responses(ModelOutcome& outcome, const Json& document) {
  outcome.usage = read_usage(child_at(document, "usage"));
  const Json& output = child_at(document, "output");
  if (!output.is_array()) {
    outcome.failure = "malformed_reply";
    outcome.message = "the answer has no output";
    return;
  }
  for (const Json& item : output) read_item(outcome, item);
  read_finish(outcome, document);
}

JoinedStream join_responses(const std::vector<ServerSentEvent>& events) {
  std::string text;
  JoinedStream joined;
  for (const ServerSentEvent& event : events) {
    const Json data = parse_foreign_json(event.data);
    const std::string type = text_at(data, "type");
    if (type == "response.output_text.delta") text += text_at(data, "delta");
    if (type == "error") {  // {"type": "error", "code": ..., "message": ...}, or with an object "error"
      const Json& inner = child_at(data, "error");
      joined.document["error"] = inner.is_null() ? data : inner;
      joined.is_complete = true;
    }
    if (type != "response.completed" && type != "response.incomplete" && type != "response.failed") continue;
    joined = {.document = child_at(data, "response"), .is_complete = true};
  }
  if (!joined.is_complete)
    joined.document["output"] = Json::array(
        {{{"type", "message"}, {"content", Json::array({{{"type", "output_text"}, {"text", text}}})}}});
  return joined;
}

}  // namespace kernelites
