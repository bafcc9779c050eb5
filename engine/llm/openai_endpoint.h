// SPDX-License-Identifier: Apache-2.0
// Chat completions of any OpenAI-compatible server, with retries inside one total deadline per call.
//
// A call is an attempt, a wait, an attempt... until an answer, a failure that another attempt cannot help,
// the last attempt, or the total deadline. A server's Retry-After holds back every call of the endpoint, not
// only the one that heard it. An attempt whose answer was lost may have been charged: its input is counted,
// marked as estimated.
#pragma once

#include <deque>
#include <map>

#include "engine/core/rng.h"
#include "engine/llm/chat_completion.h"
#include "engine/llm/endpoint.h"
#include "engine/llm/http_loop.h"
#include "engine/llm/retry_policy.h"

namespace kernelites {

struct OpenAiSettings {
  std::string base_url;     ///< up to and without "/chat/completions"; may carry a query
  std::string api_key_env;  ///< NAME of the environment variable; empty: no key is sent
  std::string api_key_header =
      "Authorization";  ///< with it "Bearer KEY" is sent, with any other name KEY alone
  std::map<std::string, std::string> headers;  ///< further headers
  ChatShape shape;
  PriceList prices;
  HttpRoute route;
  HttpDeadlines deadlines;  ///< `total` spans all attempts of a call
  RetryPolicy retry;
  std::size_t in_flight_max = 16;
};

/// `base_url` with `path` before its query.
std::string join_url(const std::string& base_url, const std::string& path);
/// The headers of every request, the key's among them.
std::vector<std::pair<std::string, std::string>> request_headers(const OpenAiSettings& settings,
                                                                 const std::string& api_key);
/// `text` with every occurrence of the key and of the further headers' values blotted out: servers echo them.
std::string without_secrets(std::string text, const OpenAiSettings& settings, const std::string& api_key);

class OpenAiEndpoint : public Endpoint {
 public:
  /// Borrows `http`, which outlives the endpoint. `rng` only jitters waits.
  OpenAiEndpoint(OpenAiSettings settings, std::string api_key, HttpLoop& http, Clock clock, Rng rng);
  ~OpenAiEndpoint() override;

  std::string name() const override { return "openai:" + settings_.shape.model; }
  std::size_t capacity() const override { return settings_.in_flight_max; }
  void submit(ModelRequest request) override;
  void cancel(const std::string& id) override;
  void wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) override;
  void pump() override;
  std::optional<ModelReply> take() override;
  /// Counts the input as one token per two bytes and the output at its limit.
  double usd_max(const ModelRequest& request) const override;

 private:
  struct Call {
    ModelRequest request;
    Clock::Steady submitted;
    Clock::Steady deadline;
    Clock::Steady next_attempt;
    std::optional<HttpId> transfer;  ///< of the running attempt
    int attempts = 0;
    ModelUsage usage;  ///< of the attempts so far
    ChatOutcome last;  ///< of the last failed attempt
  };

  void send(Call& call);
  /// True if the call is over and its reply is queued.
  bool settle(Call& call, const HttpResponse& response);
  bool schedule_retry(Call& call, const HttpResponse& response);
  void finish(Call& call, ChatOutcome outcome);
  std::size_t sending() const;

  OpenAiSettings settings_;
  std::string api_key_;
  HttpLoop& http_;
  Clock clock_;
  Rng rng_;
  Clock::Steady held_until_{};  ///< no attempt starts before: the server asked for a pause
  std::map<std::string, Call> calls_;
  std::deque<ModelReply> done_;
};

}  // namespace kernelites
