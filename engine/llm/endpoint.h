// SPDX-License-Identifier: Apache-2.0
// The seam to language models: a request goes out, an answer or a named failure comes back, nothing blocks.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct pollfd;

namespace kernelites {

/// One message of a conversation. Roles: "system", "user", "assistant".
struct ChatMessage {
  std::string role;
  std::string text;
  bool operator==(const ChatMessage&) const = default;
};

/// A call of a model.
struct ModelRequest {
  std::string id;             ///< unique within a run: "<ordinal>-<attempt>"
  std::uint64_t ordinal = 0;  ///< of the candidate it is made for
  std::vector<ChatMessage> messages;
  int output_tokens_max = 16384;
  double temperature = -1;  ///< below 0: the endpoint's default
};

/// SHA-256 over the messages: the key of recorded replies, stored with the candidate.
std::string prompt_digest(const ModelRequest& request);

/// What the call cost.
struct ModelUsage {
  std::int64_t input_tokens = 0;
  std::int64_t cached_input_tokens = 0;
  std::int64_t output_tokens = 0;
  double usd = 0;             ///< by the endpoint's price list; 0 if it has none
  bool is_estimated = false;  ///< the server reported no usage; tokens are counted as bytes / 4
};

/// Usage where nobody reported any: four bytes to a token.
ModelUsage estimated_usage(const ModelRequest& request, std::string_view answer);

/// The end of a call. `failure` empty: `text` is the model's answer.
struct ModelReply {
  std::string id;
  std::string text;
  std::string model;  ///< as the server named it
  std::string
      failure;  ///< a code: "timeout", "rate_limited", "unreachable", "refused", "no_recorded_reply", ...
  std::string message;  ///< the failure in words, without secrets
  ModelUsage usage;
  double latency_s = 0;
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
  /// Moves data and timers forward without blocking.
  virtual void pump() = 0;
  virtual std::optional<ModelReply> take() = 0;
  /// True if only a person or another program can bring the next reply (spool); a run may then stop and
  /// resume.
  virtual bool is_waiting_outside() const { return false; }
  /// The most that one attempt at this call can cost by the price list: for budgets, before it is made. 0: no
  /// prices.
  virtual double usd_max(const ModelRequest&) const { return 0; }
};

}  // namespace kernelites
