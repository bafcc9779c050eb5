// SPDX-License-Identifier: Apache-2.0
// The protocols of model servers: request body out, answer or named failure in.
//
// A dialect is a row of functions over text; the transport is http_endpoint.h. A streamed answer is joined to the
// document that the server would have sent in one piece, so that there is one way of reading it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"
#include "engine/llm/endpoint.h"
#include "engine/llm/http_loop.h"
#include "engine/llm/server_sent_events.h"

namespace kernelites {

/// Everything that shapes a request body besides the request.
struct ModelShape {
  std::string model;
  std::string output_limit_key =
      "max_tokens";  ///< chat only: newer OpenAI models want "max_completion_tokens"
  bool streams = true;
  Json parameters = Json::object();  ///< further members, e.g. {"top_p": 0.9}
  Json effort_parameters =
      Json::object();  ///< per effort, instead of the dialect's own: {"low": {...}, "high": {...}}
};

/// A finished attempt: `failure` empty means that `text` and `tool_calls` are the answer.
struct ModelOutcome {
  std::string text;
  std::vector<ToolCall> tool_calls;
  std::string finish;
  std::string model;
  std::string failure;  ///< see failure_policy.h
  std::string message;
  std::optional<CallCost> usage;  ///< as the server counted it; unpriced
};

/// A stream put together.
struct JoinedStream {
  Json document;
  bool is_complete = false;  ///< the server said that this was all
};

struct Dialect {
  const char* name;  ///< "chat", "responses", "messages"
  const char* path;  ///< after the base URL
  std::string (*body)(const ModelRequest& request, const ModelShape& shape);
  /// Reads a document without an error; what is no such document is "malformed_reply".
  void (*read)(ModelOutcome& outcome, const Json& document);
  JoinedStream (*join)(const std::vector<ServerSentEvent>& events);
};

/// The row of that name, or null.
const Dialect* find_dialect(std::string_view name);

/// Reads a response of a server that speaks `dialect`. Every failure has a name in failure_policy.h; a broken stream
/// and "length" keep the part of the text that came.
ModelOutcome read_response(const HttpResponse& response, const Dialect& dialect);

/// Merges the parameters that stand for `request.reasoning_effort`, if any, and `shape.parameters` into a body and
/// writes it. Bytes that are not UTF-8 are replaced.
std::string finish_body(Json body, const ModelRequest& request, const ModelShape& shape, Json effort);

}  // namespace kernelites
