// SPDX-License-Identifier: Apache-2.0
// What every dialect has in common: the tables that name transports', statuses' and servers' own errors.
#include "engine/llm/dialect.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/llm/chat_dialect.h"
#include "engine/llm/foreign_json.h"
#include "engine/llm/messages_dialect.h"
#include "engine/llm/responses_dialect.h"
#include "engine/llm/utf8_text.h"

namespace kernelites {
namespace {

struct TransportRow {
  HttpFailure from;
  const char* failure;
};

constexpr TransportRow k_transport_table[] = {
    {HttpFailure::unreachable, "unreachable"},
    {HttpFailure::connect_timeout, "connect_timeout"},
    {HttpFailure::first_byte_timeout, "first_byte_timeout"},
    {HttpFailure::idle_timeout, "idle_timeout"},
    {HttpFailure::total_timeout, "timeout"},
    {HttpFailure::connection_lost, "connection_lost"},
    {HttpFailure::untrusted, "untrusted_server"},
    {HttpFailure::too_big, "reply_too_big"},
    {HttpFailure::not_sendable, "not_sendable"},
};

struct StatusRow {
  int first, last;
  const char* failure;
  const char* words;
};

/// The first row that holds the status counts.
constexpr StatusRow k_status_table[] = {
    {300, 399, "redirected", "the server redirects elsewhere, which is not followed; correct base_url"},
    {401, 401, "unauthorised", "the server does not accept the API key"},
    {402, 402, "quota_exhausted", "the account has no credit"},
    {403, 403, "forbidden", "the API key may not do this"},
    {404, 404, "not_found", "no such model, or base_url is wrong"},
    {408, 408, "first_byte_timeout", "the server waited too long"},
    {413, 413, "prompt_too_long", "the prompt is too long"},
    {429, 429, "rate_limited", "too many requests"},
    {400, 499, "bad_request", "the server does not accept the request"},
    {529, 529, "overloaded", "the server is overloaded"},
    {503, 503, "overloaded", "the server is overloaded"},
    {500, 599, "server_error", "the server failed"},
};

struct ErrorRow {
  const char* code;  ///< "code" or "type" in the server's error object
  const char* failure;
};

/// What a server's own error code says is more exact than its status.
constexpr ErrorRow k_error_table[] = {
    {"insufficient_quota", "quota_exhausted"},
    {"billing_error", "quota_exhausted"},
    {"content_filter", "content_filter"},
    {"content_policy_violation", "content_filter"},
    {"context_length_exceeded", "prompt_too_long"},
    {"exceed_context_size_error", "prompt_too_long"},
    {"request_too_large", "prompt_too_long"},
    {"model_not_found", "not_found"},
    {"not_found_error", "not_found"},
    {"invalid_api_key", "unauthorised"},
    {"authentication_error", "unauthorised"},
    {"permission_error", "forbidden"},
    {"rate_limit_error", "rate_limited"},
    {"rate_limit_exceeded", "rate_limited"},
    {"overloaded_error", "overloaded"},
    {"server_is_overloaded", "overloaded"},
    {"api_error", "server_error"},
    {"server_error", "server_error"},
};

/// Servers without a code for it say it in words.
constexpr const char* k_too_long_words[] = {"prompt is too long", "maximum context length", "context window"};

const StatusRow* find_status(int status) {
  const auto row = std::find_if(std::begin(k_status_table), std::end(k_status_table),
                                [&](const StatusRow& r) { return r.first <= status && status <= r.last; });
  return row == std::end(k_status_table) ? nullptr : row;
}

/// Names a failed status, using the server's error object where there is one.
void name_failure(ModelOutcome& outcome, int status, const Json& body, std::string_view raw) {
  const Json& error = child_at(body, "error");
  const std::int64_t inner = count_at(error, "code");  // gateways wrap their upstream's trouble in a 200
  if (status / 100 == 2 && inner >= 300 && inner <= 599) status = static_cast<int>(inner);
  const StatusRow* row = find_status(status);
  outcome.failure = row ? row->failure : "server_error";
  std::string said = error.is_string() ? error.get<std::string>() : text_at(error, "message");
  if (said.empty() && body.is_object()) said = text_at(body, "message");
  if (said.empty() && !body.is_object()) said = raw;
  if (outcome.failure == "bad_request") {
    for (const char* words : k_too_long_words)
      if (said.find(words) != std::string::npos) outcome.failure = "prompt_too_long";
  }
  for (const ErrorRow& known : k_error_table)
    if (text_at(error, "code") == known.code || text_at(error, "type") == known.code)
      outcome.failure = known.failure;
  outcome.message = fmt::format("{} (HTTP status {})", row ? row->words : "unexpected answer", status);
  if (!said.empty()) outcome.message += ": " + one_line(said);
}

bool is_event_stream(const HttpResponse& response) {
  if (response.status / 100 != 2) return false;
  const auto type = response.headers.find("content-type");
  if (type != response.headers.end() && type->second.rfind("text/event-stream", 0) == 0) return true;
  return response.body.rfind("data:", 0) == 0 || response.body.rfind("event:", 0) == 0;
}

/// What came of a stream whose end did not.
ModelOutcome read_part(const Dialect& dialect, const Json& document) {
  ModelOutcome part;
  dialect.read(part, document);
  ModelOutcome outcome;
  outcome.text = std::move(part.text);
  outcome.model = text_at(document, "model");
  return outcome;
}

ModelOutcome read_lost(const HttpResponse& response, const Dialect& dialect, const JoinedStream& joined) {
  ModelOutcome outcome;
  if (!joined.document.is_null()) outcome = read_part(dialect, joined.document);
  for (const TransportRow& row : k_transport_table)
    if (row.from == response.failure) outcome.failure = row.failure;
  if (!joined.document.is_null() && response.failure == HttpFailure::connection_lost)
    outcome.failure = "stream_broken";
  outcome.message = response.message;
  return outcome;
}

constexpr const Dialect* k_dialects[] = {&k_chat_dialect, &k_responses_dialect, &k_messages_dialect};

}  // namespace

const Dialect* find_dialect(std::string_view name) {
  for (const Dialect* dialect : k_dialects)
    if (dialect->name == name) return dialect;
  return nullptr;
}

ModelOutcome read_response(const HttpResponse& response, const Dialect& dialect) {
  JoinedStream joined;
  const bool is_stream = is_event_stream(response);
  if (is_stream) joined = dialect.join(parse_server_sent_events(response.body));
  if (response.failure != HttpFailure::none) return read_lost(response, dialect, joined);
  const Json document = is_stream ? std::move(joined.document) : parse_foreign_json(response.body);
  ModelOutcome outcome;
  outcome.model = text_at(document, "model");
  if (response.status / 100 != 2 || !child_at(document, "error").is_null()) {
    dialect.read(outcome, document);  // its usage counts
    // A stream tells its prompt's tokens first, and its answer's only at the end that it did not have.
    if (is_stream) outcome.usage.reset();
    outcome.text.clear();
    outcome.tool_calls.clear();
    name_failure(outcome, response.status, document, response.body);
    return outcome;
  }
  if (is_stream && !joined.is_complete) {
    outcome = read_part(dialect, document);
    outcome.failure = "stream_broken";
    outcome.message = "the stream ended before the answer did";
    return outcome;
  }
  dialect.read(outcome, document);
  if (outcome.failure == "malformed_reply")
    outcome.message =
        fmt::format("{}: {}", document.is_discarded() ? "the answer is not JSON" : outcome.message,
                    one_line(response.body));
  if (outcome.failure.empty() && outcome.text.empty() && outcome.tool_calls.empty()) {
    outcome.failure = "empty_reply";
    outcome.message = "the answer holds no text";
  }
  return outcome;
}

std::string finish_body(Json body, const ModelRequest& request, const ModelShape& shape, Json effort) {
  if (!request.reasoning_effort.empty()) {
    const Json& own = child_at(shape.effort_parameters, request.reasoning_effort.c_str());
    body.update(own.is_object() ? own : effort);
  }
  body.update(shape.parameters);
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace kernelites
