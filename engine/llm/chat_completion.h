// SPDX-License-Identifier: Apache-2.0
// The chat-completions format of OpenAI and compatible servers: request out, answer or named failure in.
//
// Pure functions over text; the transport is openai_endpoint.h. Failures that are worth another attempt are
// marked.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/core/json.h"
#include "engine/llm/endpoint.h"
#include "engine/llm/http_loop.h"

namespace kernelites {

/// What tokens cost, in US dollars per million. All zero: unknown, every call counts as free.
struct PriceList {
  double input_usd_per_million = 0;
  double cached_input_usd_per_million = 0;
  double output_usd_per_million = 0;
  std::string date;  ///< when the prices were looked up, for people
  bool operator==(const PriceList&) const = default;
};

/// Cost of `usage`; its cached input tokens are part of its input tokens.
double price_usd(const ModelUsage& usage, const PriceList& prices);

/// Everything that shapes a request body besides the conversation.
struct ChatShape {
  std::string model;
  std::string output_limit_key = "max_tokens";  ///< newer OpenAI models want "max_completion_tokens"
  Json parameters = Json::object();             ///< further members, e.g. {"reasoning_effort": "high"}
};

/// The request body. Bytes that are not UTF-8 are replaced.
std::string chat_body(const ModelRequest& request, const ChatShape& shape);

/// A finished attempt: `failure` empty means that `text` and `tool_calls` are the answer.
struct ChatOutcome {
  std::string text;
  std::vector<ToolCall> tool_calls;
  std::string finish;
  std::string model;
  std::string failure;
  std::string message;
  std::optional<ModelUsage> usage;  ///< as the server counted it; unpriced
  bool is_retryable = false;
};

/// Reads a response. Named failures: those of k_status_table in the source, and
/// - of the transport: unreachable, timeout, connection_lost, untrusted_server, reply_too_big, not_sendable;
/// - of the answer: malformed_reply (not JSON, or not this format), empty_reply, length (cut off; `text`
/// holds the
///   part), content_filter, refused.
ChatOutcome read_chat_response(const HttpResponse& response);

}  // namespace kernelites
