// SPDX-License-Identifier: Apache-2.0
// Building request bodies, reading answers, and the tables that name every failure.
#include "engine/llm/chat_completion.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/llm/utf8_text.h"

namespace kernelites {
namespace {

struct TransportRow {
  HttpFailure from;
  const char* failure;
  bool is_retryable;
};

constexpr TransportRow k_transport_table[] = {
    {HttpFailure::unreachable, "unreachable", true},
    {HttpFailure::connect_timeout, "unreachable", true},
    {HttpFailure::first_byte_timeout, "timeout", true},
    {HttpFailure::idle_timeout, "timeout", true},
    {HttpFailure::total_timeout, "timeout", false},
    {HttpFailure::connection_lost, "connection_lost", true},
    {HttpFailure::untrusted, "untrusted_server", false},
    {HttpFailure::too_big, "reply_too_big", false},
    {HttpFailure::not_sendable, "not_sendable", false},
};

struct StatusRow {
  int first, last;
  const char* failure;
  bool is_retryable;
  const char* words;
};

/// The first row that holds the status counts.
constexpr StatusRow k_status_table[] = {
    {300, 399, "redirected", false,
     "the server redirects elsewhere, which is not followed; correct base_url"},
    {401, 401, "unauthorised", false, "the server does not accept the API key"},
    {402, 402, "quota_exhausted", false, "the account has no credit"},
    {403, 403, "forbidden", false, "the API key may not do this"},
    {404, 404, "not_found", false, "no such model, or base_url is wrong"},
    {408, 408, "timeout", true, "the server waited too long"},
    {413, 413, "prompt_too_long", false, "the prompt is too long"},
    {429, 429, "rate_limited", true, "too many requests"},
    {400, 499, "bad_request", false, "the server does not accept the request"},
    {529, 529, "overloaded", true, "the server is overloaded"},
    {503, 503, "overloaded", true, "the server is overloaded"},
    {500, 599, "server_error", true, "the server failed"},
};

struct CodeRow {
  const char* code;  ///< "code" or "type" in the server's error object
  const char* failure;
  bool is_retryable;
};

/// What a server's own error code says is more exact than its status.
constexpr CodeRow k_code_table[] = {
    {"insufficient_quota", "quota_exhausted", false},
    {"content_filter", "content_filter", false},
    {"content_policy_violation", "content_filter", false},
    {"context_length_exceeded", "prompt_too_long", false},
    {"exceed_context_size_error", "prompt_too_long", false},
    {"model_not_found", "not_found", false},
    {"invalid_api_key", "unauthorised", false},
    {"overloaded_error", "overloaded", true},
};

/// The string at `key`, or "" where it is missing, null or something else.
std::string text_at(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::int64_t count_at(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end() || !found->is_number()) return 0;
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(found->get<double>()));
}

const Json& child_at(const Json& object, const char* key) {
  static const Json k_null;
  return object.is_object() && object.contains(key) ? object.at(key) : k_null;
}

/// Names a failed status, using the server's error object where there is one.
void name_failure(ChatOutcome& outcome, int status, const Json& body, std::string_view raw) {
  const auto row = std::find_if(std::begin(k_status_table), std::end(k_status_table),
                                [&](const StatusRow& r) { return r.first <= status && status <= r.last; });
  const bool is_known = row != std::end(k_status_table);
  outcome.failure = is_known ? row->failure : "server_error";
  outcome.is_retryable = is_known && row->is_retryable;
  const Json& error = child_at(body, "error");
  for (const CodeRow& code : k_code_table) {
    if (text_at(error, "code") != code.code && text_at(error, "type") != code.code) continue;
    outcome.failure = code.failure;
    outcome.is_retryable = code.is_retryable;
  }
  std::string said = error.is_string() ? error.get<std::string>() : text_at(error, "message");
  if (said.empty() && body.is_object()) said = text_at(body, "message");
  if (said.empty() && !body.is_object()) said = raw;
  outcome.message = fmt::format("{} (HTTP status {})", is_known ? row->words : "unexpected answer", status);
  if (!said.empty()) outcome.message += ": " + one_line(said);
}

std::optional<ModelUsage> read_usage(const Json& usage) {
  if (!usage.is_object() || !usage.contains("prompt_tokens")) return std::nullopt;
  const std::int64_t input = count_at(usage, "prompt_tokens");
  const std::int64_t cached = std::max(count_at(child_at(usage, "prompt_tokens_details"), "cached_tokens"),
                                       count_at(usage, "prompt_cache_hit_tokens"));
  return ModelUsage{
      .input_tokens = input,
      .cached_input_tokens = std::min(cached, input),
      .output_tokens = count_at(usage, "completion_tokens"),
      .reasoning_tokens = count_at(child_at(usage, "completion_tokens_details"), "reasoning_tokens")};
}

/// Text of a message whose content is a string or a list of {"type": "text", "text": ...} parts.
std::string message_text(const Json& message) {
  const Json& content = child_at(message, "content");
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  if (content.is_array()) {
    for (const Json& part : content) text += text_at(part, "text");
  }
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

void read_choice(ChatOutcome& outcome, const Json& choice) {
  outcome.text = message_text(child_at(choice, "message"));
  const std::string finish = text_at(choice, "finish_reason");
  outcome.tool_calls = message_tool_calls(child_at(choice, "message"));
  outcome.finish = finish == "function_call" ? "tool_calls" : finish;
  const std::string refusal = text_at(child_at(choice, "message"), "refusal");
  if (finish == "length") {
    outcome.failure = "length";
    outcome.message = "the answer was cut off at its token limit";
  } else if (finish == "content_filter") {
    outcome.failure = "content_filter";
    outcome.message = "the answer was withheld by the server's content filter";
  } else if (!refusal.empty()) {
    outcome.failure = "refused";
    outcome.message = "the model refused: " + one_line(refusal);
  } else if (outcome.text.empty() && outcome.tool_calls.empty()) {
    outcome.failure = "empty_reply";
    outcome.message = "the answer holds no text";
  }
}

Json parsed(const std::string& schema) {
  Json json = Json::parse(schema, nullptr, /*allow_exceptions=*/false);
  return json.is_discarded() ? Json::object() : json;
}

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
                               {"parameters", parsed(tool.parameters)}}}});
  if (request.tools.empty() || request.tool_choice == "auto") return;
  const bool is_word = request.tool_choice == "none" || request.tool_choice == "required";
  body["tool_choice"] = is_word ? Json(request.tool_choice)
                                : Json{{"type", "function"}, {"function", {{"name", request.tool_choice}}}};
}

}  // namespace

double price_usd(const ModelUsage& usage, const PriceList& prices) {
  const auto cost = [](std::int64_t tokens, double per_million) {
    return static_cast<double>(tokens) * per_million / 1e6;
  };
  return cost(usage.input_tokens - usage.cached_input_tokens, prices.input_usd_per_million) +
         cost(usage.cached_input_tokens, prices.cached_input_usd_per_million) +
         cost(usage.output_tokens, prices.output_usd_per_million);
}

std::string chat_body(const ModelRequest& request, const ChatShape& shape) {
  Json body = {{"model", shape.model}, {"messages", Json::array()}};
  for (const ChatMessage& message : request.messages) body["messages"].push_back(chat_message(message));
  add_tools(body, request);
  if (const AnswerSchema& answer = request.answer_schema; !answer.schema.empty()) {
    Json schema = parsed(answer.schema);
    // "strict" servers want every object closed; what leaves one open is meant as a guide.
    const bool is_closed =
        schema.is_object() && schema.value("additionalProperties", Json(true)) == Json(false);
    body["response_format"] = {
        {"type", "json_schema"},
        {"json_schema", {{"name", answer.name}, {"strict", is_closed}, {"schema", std::move(schema)}}}};
  }
  if (!request.reasoning_effort.empty()) body["reasoning_effort"] = request.reasoning_effort;
  body[shape.output_limit_key] = request.output_tokens_max;
  if (request.temperature >= 0) body["temperature"] = request.temperature;
  for (const auto& [key, value] : shape.parameters.items()) body[key] = value;
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

ChatOutcome read_chat_response(const HttpResponse& response) {
  ChatOutcome outcome;
  for (const TransportRow& row : k_transport_table) {
    if (row.from != response.failure) continue;
    outcome.failure = row.failure;
    outcome.is_retryable = row.is_retryable;
    outcome.message = response.message;
    return outcome;
  }
  const Json body = Json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  outcome.model = text_at(body, "model");
  outcome.usage = read_usage(child_at(body, "usage"));
  const bool is_ok = response.status >= 200 && response.status < 300;
  // Gateways wrap their upstream's trouble in a 200.
  const bool has_error = body.is_object() && !child_at(body, "error").is_null();
  if (!is_ok || has_error) {
    const std::int64_t inner = count_at(child_at(body, "error"), "code");
    name_failure(outcome, is_ok && inner >= 300 && inner <= 599 ? static_cast<int>(inner) : response.status,
                 body, response.body);
    return outcome;
  }
  const Json& choices = child_at(body, "choices");
  if (!choices.is_array() || choices.empty()) {
    outcome.failure = "malformed_reply";
    outcome.message =
        fmt::format("{}: {}", body.is_discarded() ? "the answer is not JSON" : "the answer has no choices",
                    one_line(response.body));
    return outcome;
  }
  read_choice(outcome, choices.front());
  return outcome;
}

}  // namespace kernelites
