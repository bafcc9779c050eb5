// SPDX-License-Identifier: Apache-2.0
// The manners of failing: the table, rate limits, the circuit breaker, the fallback order, keys.
#include "engine/llm/failure_policy.h"

#include <poll.h>
#include <sys/stat.h>

#include <fstream>
#include <set>

#include "engine/core/error.h"
#include "engine/llm/api_key.h"
#include "engine/llm/circuit_breaker.h"
#include "engine/llm/fallback_endpoint.h"
#include "engine/llm/http_endpoint.h"
#include "engine/llm/rate_limiter.h"
#include "tests/support/catch.h"
#include "tests/support/fake_openai_server.h"
#include "tests/support/hand_clock.h"
#include "tests/support/stalling_server.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;
using namespace std::chrono_literals;

namespace {

/// Answers every call with what it is told to.
class OneAnswer : public Endpoint {
 public:
  OneAnswer(std::string name, std::string failure, double usd = 0.01)
      : name_(std::move(name)), failure_(std::move(failure)), usd_(usd) {}
  std::string name() const override { return name_; }
  std::size_t capacity() const override { return 4; }
  void submit(ModelRequest request) override {
    ++calls;
    limit = request.limit.usd;
    ModelReply reply{.id = request.id, .failure = failure_, .message = failure_};
    reply.cost = {.input_tokens = tokens, .usd = reported_usd < 0 ? usd_ : reported_usd};
    reply.cost.most.usd = usd_;
    if (failure_.empty()) reply.text = "by " + name_;
    done_.push_back(std::move(reply));
  }
  void cancel(const std::string&) override {}
  void wait(std::vector<pollfd>&, std::chrono::milliseconds) override {}
  void pump() override {}
  std::optional<ModelReply> take() override {
    if (done_.empty()) return std::nullopt;
    ModelReply reply = std::move(done_.front());
    done_.pop_front();
    return reply;
  }
  CostBound cost_max(const ModelRequest&) const override { return {.tokens = tokens, .usd = usd_}; }
  int calls = 0;
  double limit = 0;
  double reported_usd = -1;  ///< below 0: all that it can cost
  std::int64_t tokens = 0;

 private:
  std::string name_, failure_;
  double usd_;
  std::deque<ModelReply> done_;
};

/// Two endpoints in order, and what a call of them comes to.
struct Order {
  explicit Order(const std::string& failure, double usd = 0.01) {
    auto one = std::make_unique<OneAnswer>("a", failure, usd),
         two = std::make_unique<OneAnswer>("b", "", usd);
    first = one.get();
    second = two.get();
    std::vector<std::unique_ptr<Endpoint>> order;
    order.push_back(std::move(one));
    order.push_back(std::move(two));
    fallback = std::make_unique<FallbackEndpoint>(std::move(order));
  }
  ModelReply ask(double usd_limit = 0) {
    fallback->submit({.id = "1-0", .limit = {.usd = usd_limit}});
    fallback->pump();
    const auto reply = fallback->take();
    REQUIRE(reply);
    CHECK_FALSE(fallback->take());
    return *reply;
  }
  OneAnswer* first;
  OneAnswer* second;
  std::unique_ptr<FallbackEndpoint> fallback;
};

std::string key_problem(const std::filesystem::path& file) {
  try {
    key_from_file(file, "run.json");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("every failure has one row with a remedy, and an unknown one is left alone") {
  std::set<std::string> names;
  for (const FailurePolicy& policy : failure_policies()) {
    CAPTURE(policy.failure);
    CHECK(names.insert(policy.failure).second);
    CHECK(std::string(policy.remedy).size() > 10);
  }
  CHECK_FALSE(failure_policy("what is this").is_retryable);
  CHECK_FALSE(failure_policy("").falls_back);
}

TEST_CASE("a bucket lets a burst pass and then keeps the average") {
  const Clock::Steady start{};
  TokenBucket bucket(60, 1, start);
  for (int i = 0; i < 10; ++i) {
    CHECK(bucket.ready_at(1, start) == start);
    bucket.take(1, start);
  }
  CHECK(bucket.ready_at(1, start) == start + 1s);
  CHECK(bucket.ready_at(1, start + 1s) == start + 1s);
}

TEST_CASE("a request larger than the bucket goes when the bucket is full and leaves a debt") {
  const Clock::Steady start{};
  TokenBucket bucket(600, 1, start);  // holds 100
  CHECK(bucket.ready_at(500, start) == start);
  bucket.take(500, start);
  CHECK(bucket.ready_at(1, start) == start + 40100ms);
  bucket.correct(450, start);
  CHECK(bucket.ready_at(1, start) == start);
}

TEST_CASE("no limit is no wait") {
  RateLimiter limiter({}, Clock::Steady{});
  for (int i = 0; i < 1000; ++i) limiter.take(1e6, Clock::Steady{});
  CHECK(limiter.ready_at(1e6, Clock::Steady{}) == Clock::Steady{});
}

TEST_CASE("a breaker opens after failures in a row, lets one trial through and doubles its pause") {
  CircuitBreaker breaker({.failures_max = 3, .cooldown_first = 10s, .cooldown_max = 15s});
  const Clock::Steady start{};
  for (int i = 0; i < 2; ++i) breaker.failed(start, false);
  breaker.succeeded();
  for (int i = 0; i < 3; ++i) {
    CHECK(breaker.allows(start));
    breaker.failed(start, false);
  }
  CHECK_FALSE(breaker.allows(start + 9s));
  breaker.failed(start + 9s, false);  // was in flight: the pause stays
  CHECK(breaker.allows(start + 10s));
  CHECK(breaker.started());
  CHECK_FALSE(breaker.allows(start + 10s));
  breaker.failed(start + 10s, false);  // an older call: the trial goes on
  CHECK_FALSE(breaker.allows(start + 10s));
  breaker.failed(start + 10s, true);
  CHECK_FALSE(breaker.allows(start + 24s));
  CHECK(breaker.allows(start + 25s));
  breaker.started();
  breaker.succeeded();
  CHECK(breaker.allows(start + 25s));
  CHECK(breaker.is_closed());
}

TEST_CASE("a failure that another endpoint may not have is handed on, with what it cost") {
  Order order("server_error");
  const ModelReply reply = order.ask();
  CHECK(reply.text == "by b");
  CHECK(reply.cost.usd == Approx(0.02));
  CHECK(reply.attempts == 2);
  CHECK(order.fallback->name() == "fallback:a,b");
}

TEST_CASE("a failure that is the request's own fault is not handed on") {
  Order order("length");
  CHECK(order.ask().failure == "length");
  CHECK(order.second->calls == 0);
}

TEST_CASE("a call is not handed on beyond its cost limit") {
  Order dear("server_error", 1);
  CHECK(dear.ask(1.5).failure == "server_error");
  CHECK(dear.second->calls == 0);
  Order cheap("server_error", 1);
  CHECK(cheap.ask(2.5).text == "by b");
  CHECK(cheap.second->limit == Approx(1.5));
}

TEST_CASE("what a lost attempt can have cost counts for the next endpoint, not what it is estimated at") {
  Order order("connection_lost", 1);
  order.first->reported_usd = 0.1;
  CHECK(order.ask(1.5).failure == "connection_lost");
  CHECK(order.second->calls == 0);
}

TEST_CASE("a call is not handed on beyond its limit of tokens") {
  for (const std::int64_t limit : {150, 250}) {
    Order order("server_error");
    order.first->tokens = order.second->tokens = 100;
    order.fallback->submit({.id = "1-0", .limit = {.tokens = limit}});
    order.fallback->pump();
    REQUIRE(order.fallback->take());
    CHECK(order.second->calls == (limit > 200 ? 1 : 0));
  }
}

TEST_CASE("when all fail the last failure is told with the ones before") {
  std::vector<std::unique_ptr<Endpoint>> order;
  order.push_back(std::make_unique<OneAnswer>("a", "overloaded"));
  order.push_back(std::make_unique<OneAnswer>("b", "unauthorised"));
  FallbackEndpoint fallback(std::move(order));
  fallback.submit({.id = "1-0"});
  fallback.pump();
  const auto reply = fallback.take();
  REQUIRE(reply);
  CHECK(reply->failure == "unauthorised");
  CHECK(reply->message == "unauthorised; before: a: overloaded");
}

TEST_CASE("an open circuit ends waiting calls at once where the next endpoint waits for them") {
  FakeOpenAiServer server(std::vector<ScriptedAnswer>{{.status = 500}});
  HandClock hand;
  HttpLoop http({}, hand.clock());
  HttpEndpointSettings settings;
  settings.base_url = server.base_url();
  settings.breaker = {.failures_max = 2, .cooldown_first = 100s, .cooldown_max = 100s};
  settings.fails_when_open = true;
  HttpEndpoint endpoint(settings, "", http, hand.clock(), Rng(1));
  std::vector<pollfd> nothing;
  for (int i = 0; i < 4; ++i) endpoint.submit({.id = std::to_string(i) + "-0"});
  int open = 0;
  const auto end = std::chrono::steady_clock::now() + 20s;
  for (int replies = 0; replies < 4 && std::chrono::steady_clock::now() < end;) {
    endpoint.pump();
    http.wait(nothing, 2ms);
    while (const auto reply = endpoint.take()) {
      ++replies;
      open += reply->failure == "circuit_open";
      CHECK(reply->message.find("left alone") != std::string::npos);
    }
  }
  CHECK(open == 4);
  CHECK(server.request_count() == 4);
}

TEST_CASE("calls beyond the requests per minute wait for the bucket") {
  FakeOpenAiServer server(std::vector<ScriptedAnswer>{{.body = chat_answer("x")}});
  HandClock hand;
  HttpLoop http({}, hand.clock());
  HttpEndpointSettings settings;
  settings.base_url = server.base_url();
  settings.limits.requests_per_minute = 6;  // the bucket holds one
  HttpEndpoint endpoint(settings, "", http, hand.clock(), Rng(1));
  for (int i = 0; i < 2; ++i) endpoint.submit({.id = std::to_string(i) + "-0"});
  CHECK(http.running() == 1);
  std::vector<pollfd> nothing;
  for (int i = 0; i < 200 && http.running() > 0; ++i) {
    http.wait(nothing, 20ms);
    http.pump();
  }
  endpoint.pump();
  REQUIRE(endpoint.take());
  CHECK(endpoint.due_in() == 10s);
  hand.advance(10s);
  endpoint.pump();
  CHECK(http.running() == 1);
}

TEST_CASE("a call makes no attempt that could exceed its cost limit") {
  StallingServer server("", /*hangs_up=*/true);
  HttpLoop http;
  HttpEndpointSettings settings;
  settings.base_url = server.base_url();
  settings.prices = {.input_usd_per_million = 1, .output_usd_per_million = 100, .date = "2026-01-01"};
  settings.retry = {.attempts_max = 3, .backoff_first = 1ms, .backoff_max = 1ms};
  HttpEndpoint endpoint(settings, "", http, {}, Rng(1));
  endpoint.submit(
      {.id = "1-0", .output_tokens_max = 10000, .limit = {.usd = 1.02}});  // an attempt can cost 1 USD
  std::vector<pollfd> nothing;
  std::optional<ModelReply> reply;
  for (int i = 0; i < 1000 && !(reply = endpoint.take()); ++i) {
    endpoint.wait(nothing, 20ms);
    endpoint.pump();
  }
  REQUIRE(reply);
  CHECK(reply->failure == "connection_lost");
  CHECK(reply->attempts == 1);
  CHECK(reply->message.find("more than the call's limit") != std::string::npos);
}

TEST_CASE("a call makes no attempt that could exceed its limit of tokens") {
  StallingServer server("", /*hangs_up=*/true);
  HttpLoop http;
  HttpEndpointSettings settings;
  settings.base_url = server.base_url();
  settings.retry = {.attempts_max = 3, .backoff_first = 1ms, .backoff_max = 1ms};
  HttpEndpoint endpoint(settings, "", http, {}, Rng(1));
  ModelRequest request{.id = "1-0", .output_tokens_max = 1000};
  request.limit.tokens = 2 * endpoint.cost_max(request).tokens - 1;
  endpoint.submit(request);
  std::vector<pollfd> nothing;
  std::optional<ModelReply> reply;
  for (int i = 0; i < 1000 && !(reply = endpoint.take()); ++i) {
    endpoint.wait(nothing, 20ms);
    endpoint.pump();
  }
  REQUIRE(reply);
  CHECK(reply->attempts == 1);
  CHECK(reply->cost.most == endpoint.cost_max(request));
  CHECK(reply->cost.tokens() < reply->cost.most.tokens);
}

TEST_CASE("a key file that others can read is refused, with what to do") {
  TemporaryFolder folder;
  const auto file = folder.path() / "key";
  std::ofstream(file) << "sk-0123456789\n";
  REQUIRE(::chmod(file.c_str(), 0644) == 0);
  CHECK(key_problem(file).find("chmod 600") != std::string::npos);
  CHECK(key_problem(file).find("sk-0") == std::string::npos);
  REQUIRE(::chmod(file.c_str(), 0600) == 0);
  CHECK(key_from_file(file, "run.json") == "sk-0123456789");
  CHECK(key_problem(folder.path()).find("is not a file") != std::string::npos);
  CHECK(key_problem(folder.path() / "none").find("No such file") != std::string::npos);
}

TEST_CASE("a key with white space inside is refused without being shown") {
  const auto source = [](const std::string&) { return std::optional<std::string>("two words"); };
  CHECK_THROWS_WITH(key_from_environment("K", source, "x"),
                    Catch::Contains("does not hold a key") && !Catch::Contains("two words"));
}
