// SPDX-License-Identifier: Apache-2.0
// A model server, with retries inside one total deadline per call.
//
// A call is an attempt, a wait, an attempt... until an answer, a failure that another attempt cannot help
// (failure_policy.h), the last attempt, the call's cost limit, or the total deadline. A server's Retry-After holds back
// every call of the endpoint, not only the one that heard it. Attempts start in the order of their calls when
// concurrency, rate limits and the circuit breaker allow it. An attempt whose answer was lost may have been charged:
// what is known of it is counted, marked as estimated.
#pragma once

#include <deque>
#include <map>

#include "engine/core/rng.h"
#include "engine/llm/circuit_breaker.h"
#include "engine/llm/dialect.h"
#include "engine/llm/endpoint.h"
#include "engine/llm/http_loop.h"
#include "engine/llm/price_list.h"
#include "engine/llm/rate_limiter.h"
#include "engine/llm/retry_policy.h"

namespace kernelites {

struct HttpEndpointSettings {
  std::string kind = "openai";   ///< "openai" or "anthropic": the first half of the endpoint's name
  std::string dialect = "chat";  ///< see dialect.h
  std::string base_url;          ///< up to and without the dialect's path; may carry a query
  std::string api_key_env;       ///< NAME of the environment variable
  std::string api_key_file;      ///< file that holds the key, instead; both empty: no key is sent
  std::string api_key_header =
      "Authorization";  ///< with it "Bearer KEY" is sent, with any other name KEY alone
  std::map<std::string, std::string> headers;  ///< further headers
  ModelShape shape;
  PriceList prices;
  HttpRoute route;
  HttpDeadlines deadlines;  ///< `total` spans all attempts of a call
  RetryPolicy retry;
  RateLimits limits;
  BreakerPolicy breaker;
  bool fails_when_open = false;  ///< an open circuit ends calls at once, for a fallback; else they wait
  std::size_t in_flight_max = 16;
};

/// `base_url` with `path` before its query.
std::string join_url(const std::string& base_url, const std::string& path);
/// The headers of every request, the key's among them.
std::vector<std::pair<std::string, std::string>> request_headers(const HttpEndpointSettings& settings,
                                                                 const std::string& api_key);
/// `text` with every occurrence of the key and of the further headers' values blotted out: servers echo them.
std::string without_secrets(std::string text, const HttpEndpointSettings& settings,
                            const std::string& api_key);

class HttpEndpoint : public Endpoint {
 public:
  /// Borrows `http`, which outlives the endpoint. `rng` only jitters waits.
  HttpEndpoint(HttpEndpointSettings settings, std::string api_key, HttpLoop& http, Clock clock, Rng rng);
  ~HttpEndpoint() override;

  std::string name() const override { return settings_.kind + ":" + settings_.shape.model; }
  std::size_t capacity() const override { return settings_.in_flight_max; }
  void submit(ModelRequest request) override;
  void cancel(const std::string& id) override;
  void wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) override;
  std::chrono::milliseconds due_in() const override;
  void pump() override;
  std::optional<ModelReply> take() override;
  /// The input at the most tokens that its bytes can be, the output at its limit.
  CostBound cost_max(const ModelRequest& request) const override;

 private:
  struct Call {
    ModelRequest request;
    double tokens_expected = 0;
    Clock::Steady submitted;
    Clock::Steady deadline;
    Clock::Steady next_attempt;
    std::optional<HttpId> transfer;  ///< of the running attempt
    int attempts = 0;
    double first_byte_s = 0;
    CallCost cost;          ///< of the attempts so far
    ModelOutcome last;      ///< of the last failed attempt
    bool is_trial = false;  ///< the running attempt is the circuit breaker's
  };

  Clock::Steady due_at(const Call& call, Clock::Steady now) const;
  bool may_send(const Call& call, Clock::Steady now) const;
  void send(Call& call);
  /// Each is true if the call is over and its reply is queued.
  bool advance(Call& call, Clock::Steady now);
  bool settle(Call& call, HttpResponse response);
  bool end_waiting(Call& call, Clock::Steady now);
  CallCost lost_attempt(const ModelRequest& request, const std::string& answer) const;
  void count(Call& call, const ModelOutcome& outcome, const HttpResponse& response);
  void judge(const Call& call, const std::string& failure);
  void blot(ModelOutcome& outcome) const;
  bool schedule_retry(Call& call, const HttpResponse& response);
  void finish(Call& call, ModelOutcome outcome);

  HttpEndpointSettings settings_;
  const Dialect& dialect_;
  std::string api_key_;
  HttpLoop& http_;
  Clock clock_;
  Rng rng_;
  RateLimiter limiter_;
  CircuitBreaker breaker_;
  Clock::Steady held_until_{};  ///< no attempt starts before: the server asked for a pause
  std::uint64_t last_call_ = 0;
  std::size_t sending_ = 0;
  std::map<std::uint64_t, Call> calls_;  ///< in the order in which they came
  std::deque<ModelReply> done_;
};

}  // namespace kernelites
