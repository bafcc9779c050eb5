// SPDX-License-Identifier: Apache-2.0
// The seam to language models: a request goes out, an answer or a named failure comes back, nothing blocks.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/llm/call_cost.h"

struct pollfd;

namespace kernelites {

/// A model's wish to have a tool run.
struct ToolCall {
  std::string id;  ///< given by the server; the tool's result names it
  std::string name;
  std::string arguments;  ///< JSON text as the model wrote it: may be malformed
  bool operator==(const ToolCall&) const = default;
};

/// A tool that the model may call.
struct ToolSpec {
  std::string name;  ///< letters, digits, '-' and '_', at most 64
  std::string description;
  std::string parameters;  ///< JSON text: the schema of an object
  bool operator==(const ToolSpec&) const = default;
};

/// The form that an answer must have. Empty `schema`: free text.
struct AnswerSchema {
  std::string name;
  std::string schema;  ///< JSON text: the schema of an object
  bool operator==(const AnswerSchema&) const = default;
};

/// One message of a conversation. Roles: "system", "user", "assistant" and, for a tool's result, "tool".
struct ChatMessage {
  std::string role;
  std::string text;
  std::vector<ToolCall> tool_calls;  ///< of an assistant's message
  std::string tool_call_id;          ///< of a tool's result: the call that it answers
  bool operator==(const ChatMessage&) const = default;
};

/// A call of a model.
struct ModelRequest {
  std::string id;             ///< unique within a run: "<ordinal>-<attempt>"
  std::uint64_t ordinal = 0;  ///< of the candidate it is made for
  std::vector<ChatMessage> messages;
  int output_tokens_max = 16384;
  double temperature = -1;  ///< below 0: the endpoint's default
  std::vector<ToolSpec> tools;
  std::string tool_choice = "auto";  ///< "auto", "none", "required" or a tool's name; counts only with tools
  AnswerSchema answer_schema;
  std::string reasoning_effort;     ///< "" (the endpoint's default), "low", "medium", "high"
  std::size_t stable_messages = 0;  ///< leading messages that later calls repeat: worth caching by the server
  /// The call makes no further attempt, at no endpoint, whose worst case (`Endpoint::cost_max`) would bring the worst
  /// case of all its attempts above this.
  CostBound limit = {};
};

/// SHA-256 over all that decides an answer: messages with their tool calls, tools and choice, schema, effort.
/// The key of recorded replies, stored with the candidate. What only decides cost (`stable_messages`,
/// `limit`) has no part in it; a request with nothing but messages has the digest of its messages alone.
std::string prompt_digest(const ModelRequest& request);

/// Bytes of everything that the request sends.
std::size_t request_bytes(const ModelRequest& request);
/// Tokens of so many bytes, estimated: 10 bytes of source are about 3 tokens with the tokenizers of today (prose has
/// fewer).
std::int64_t estimated_tokens(std::size_t bytes);
/// No prompt has more: a token is at least a byte, and servers wrap messages and tools in words of their own.
std::int64_t most_tokens(const ModelRequest& request);
/// The cost where nobody reported any: tokens by `estimated_tokens`, no money.
CallCost estimated_cost(const ModelRequest& request, std::string_view answer);

inline constexpr std::size_t k_model_bytes_max = 120;

/// The end of a call. `failure` empty: `text` and `tool_calls` are the model's answer, and one of them is there.
struct ModelReply {
  std::string id;
  std::string text;
  std::vector<ToolCall> tool_calls;  ///< what the model wants done before it goes on
  std::string finish;                ///< "stop", "length", "tool_calls", "content_filter"; "": not said
  std::string model;                 ///< as the server named it, at most `k_model_bytes_max`
  std::string
      failure;  ///< a code: "timeout", "rate_limited", "unreachable", "refused", "no_recorded_reply", ...
  std::string message;  ///< the failure in words, without secrets
  CallCost cost;        ///< of all attempts
  double latency_s = 0;
  double first_byte_s =
      0;  ///< of the last attempt: from its start to the first byte of the answer; 0: unknown
  int attempts = 1;
};

/// A source of answers. Lives on the loop's one thread, which it never blocks.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  virtual std::string name() const = 0;
  /// Calls that may be in flight together.
  virtual std::size_t capacity() const = 0;
  /// The call ends in exactly one reply. REQUIRES: no call with this id is in flight.
  virtual void submit(ModelRequest request) = 0;
  /// Ends the call now; its reply has the failure "cancelled". An unknown or finished id is ignored.
  virtual void cancel(const std::string& id) = 0;
  /// Waits until something can have happened, at most `timeout`, on its own sources and on `others`.
  /// One endpoint of a run does the waiting for the whole loop; the rest are pumped.
  virtual void wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) = 0;
  /// How long it can go without a pump if nothing happens on its sources: for one that does not wait itself.
  virtual std::chrono::milliseconds due_in() const { return std::chrono::hours(1); }
  /// Moves data and timers forward without blocking.
  virtual void pump() = 0;
  virtual std::optional<ModelReply> take() = 0;
  /// True if only a person or another program can bring the next reply (spool); a run may then stop and
  /// resume.
  virtual bool is_waiting_outside() const { return false; }
  /// The most that one attempt at this call can cost: for budgets, before it is made. Without a price list no money.
  virtual CostBound cost_max(const ModelRequest& request) const {
    return {.tokens = most_tokens(request) + request.output_tokens_max};
  }
  /// True if a request that is submitted again after a restart is still the same call: nobody is charged twice (spool,
  /// recordings).
  virtual bool keeps_calls() const { return false; }
  /// No further request of the variation `ordinal` will come: whatever was kept for its conversation can go.
  virtual void end_conversation(std::uint64_t) {}
};

}  // namespace kernelites
