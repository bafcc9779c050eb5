// SPDX-License-Identifier: Apache-2.0
// Calls against servers on loopback, with a clock turned by hand: retries, deadlines, cost, secrets.
#include "engine/llm/http_endpoint.h"

#include <poll.h>

#include <filesystem>
#include <set>

#include "tests/support/catch.h"
#include "tests/support/fake_openai_server.h"
#include "tests/support/hand_clock.h"
#include "tests/support/stalling_server.h"

using namespace kernelites;
using namespace std::chrono_literals;

namespace {

constexpr const char* k_key = "sk-test-0123456789";

ModelRequest request(std::uint64_t ordinal) {
  return {.id = std::to_string(ordinal) + "-0", .ordinal = ordinal, .messages = {{"user", "make it faster"}}};
}

/// An endpoint with its loop and clock.
struct Bench {
  explicit Bench(const std::string& base_url, HttpEndpointSettings settings = {})
      : http({}, hand.clock()),
        endpoint(with(base_url, std::move(settings)), k_key, http, hand.clock(), Rng(1)) {}

  static HttpEndpointSettings with(const std::string& base_url, HttpEndpointSettings settings) {
    settings.base_url = base_url;
    settings.shape.model = "fake";
    return settings;
  }

  void turn() {
    std::vector<pollfd> nothing;
    endpoint.pump();
    http.wait(nothing, 2ms);  // not the endpoint's own wait: it may not outlast a clock that stands still
  }
  /// Turns the loop, with the clock standing still, until the condition holds; at most 20 s of real time.
  template <typename Condition>
  bool turn_until(Condition is_done) {
    const auto end = std::chrono::steady_clock::now() + 20s;
    while (!is_done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      turn();
    }
    return true;
  }
  void settle() {
    for (int i = 0; i < 30; ++i) turn();
  }
  /// The next reply. Between turns the clock is moved on by `step`.
  ModelReply reply(std::chrono::milliseconds step = 0ms) {
    std::optional<ModelReply> taken;
    REQUIRE(turn_until([&] {
      hand.advance(step);
      return (taken = endpoint.take()).has_value();
    }));
    return *taken;
  }

  HandClock hand;
  HttpLoop http;
  HttpEndpoint endpoint;
};

ModelReply single_reply(FakeOpenAiServer& server, HttpEndpointSettings settings = {}) {
  Bench bench(server.base_url(), std::move(settings));
  bench.endpoint.submit(request(3));
  return bench.reply(20ms);
}

}  // namespace

TEST_CASE("an answer comes back with text, model, usage and price") {
  FakeOpenAiServer server({{.body = chat_answer("faster")}});
  HttpEndpointSettings settings;
  settings.prices = {
      .input_usd_per_million = 10, .cached_input_usd_per_million = 1, .output_usd_per_million = 100};
  const ModelReply reply = single_reply(server, settings);
  CHECK(reply.failure == "");
  CHECK(reply.id == "3-0");
  CHECK(reply.text == "faster");
  CHECK(reply.model == "fake-1");
  CHECK(reply.attempts == 1);
  CHECK_FALSE(reply.cost.is_estimated);
  CHECK(reply.cost.usd == Approx(0.0264));
}

TEST_CASE("the key travels in the header and nowhere else") {
  FakeOpenAiServer server({{.body = chat_answer("x")}});
  single_reply(server);
  CHECK(server.request(0).authorization == std::string("Bearer ") + k_key);
  CHECK(server.request(0).body.find(k_key) == std::string::npos);
  CHECK(server.request(0).target.find(k_key) == std::string::npos);
}

TEST_CASE("a server that echoes the key does not get it into a message") {
  FakeOpenAiServer server(
      {{.status = 401, .body = std::string(R"({"error": {"message": "bad key )") + k_key + "\"}}"}});
  const ModelReply reply = single_reply(server);
  CHECK(reply.failure == "unauthorised");
  CHECK(reply.attempts == 1);
  CHECK(reply.message.find(k_key) == std::string::npos);
  CHECK(reply.message.find("[secret]") != std::string::npos);
}

TEST_CASE("after a 429 the next attempt waits as long as the server asked") {
  FakeOpenAiServer server({{.status = 429, .headers = {{"Retry-After", "7"}}}, {.body = chat_answer("now")}});
  Bench bench(server.base_url());
  bench.endpoint.submit(request(1));
  REQUIRE(bench.turn_until([&] { return server.request_count() == 1 && bench.http.running() == 0; }));
  bench.hand.advance(6900ms);
  bench.settle();
  CHECK(server.request_count() == 1);
  bench.hand.advance(900ms);  // up to a tenth of 7 s is jitter
  const ModelReply reply = bench.reply();
  CHECK(reply.text == "now");
  CHECK(reply.attempts == 2);
  CHECK(reply.latency_s == Approx(7.8));
}

TEST_CASE("a Retry-After holds back calls that come later") {
  FakeOpenAiServer server({{.status = 429, .headers = {{"Retry-After", "7"}}}, {.body = chat_answer("now")}});
  Bench bench(server.base_url());
  bench.endpoint.submit(request(1));
  REQUIRE(bench.turn_until([&] { return server.request_count() == 1 && bench.http.running() == 0; }));
  bench.endpoint.submit(request(2));
  bench.hand.advance(6900ms);
  bench.settle();
  CHECK(server.request_count() == 1);
  bench.hand.advance(900ms);
  CHECK(bench.reply().failure == "");
  CHECK(bench.reply().failure == "");
}

TEST_CASE("a pause that ends after the call's deadline ends the call at once") {
  FakeOpenAiServer server({{.status = 429, .headers = {{"Retry-After", "3600"}}}});
  Bench bench(server.base_url());
  bench.endpoint.submit(request(1));
  const ModelReply reply = bench.reply();
  CHECK(reply.failure == "rate_limited");
  CHECK(reply.attempts == 1);
  CHECK(reply.message.find("after the call's deadline") != std::string::npos);
}

TEST_CASE("a server that fails again and again is given up after the configured attempts") {
  FakeOpenAiServer server({{.status = 500, .body = "boom"}});
  HttpEndpointSettings settings;
  settings.retry.attempts_max = 4;
  const ModelReply reply = single_reply(server, settings);
  CHECK(reply.failure == "server_error");
  CHECK(reply.attempts == 4);
  CHECK(server.request_count() == 4);
  CHECK(reply.message.find("gave up after 4 attempts") != std::string::npos);
  CHECK(reply.cost.input_tokens == 0);
}

TEST_CASE("a refused connection is retried and then named unreachable") {
  HttpEndpointSettings settings;
  settings.retry.attempts_max = 3;
  Bench bench("http://127.0.0.1:1/v1", settings);
  bench.endpoint.submit(request(1));
  const ModelReply reply = bench.reply(20ms);
  CHECK(reply.failure == "unreachable");
  CHECK(reply.attempts == 3);
  CHECK(reply.cost.input_tokens == 0);
}

TEST_CASE("a missing first byte times out, hangs up and counts the prompt as possibly paid") {
  StallingServer server;
  HttpEndpointSettings settings;
  settings.retry.attempts_max = 1;
  Bench bench(server.base_url(), settings);
  bench.endpoint.submit(request(1));
  REQUIRE(bench.turn_until([&] { return server.has_request(); }));
  bench.settle();
  bench.hand.advance(601s);
  const ModelReply reply = bench.reply();
  CHECK(reply.failure == "first_byte_timeout");
  CHECK(reply.cost.is_estimated);
  CHECK(reply.cost.input_tokens == estimated_cost(request(1), "").input_tokens);
  CHECK(server.sees_hang_up());
}

TEST_CASE("the total deadline spans all attempts") {
  FakeOpenAiServer server({{.status = 503, .body = ""}});
  HttpEndpointSettings settings;
  settings.retry = {.attempts_max = 1000, .backoff_first = 1s, .backoff_max = 10s};
  settings.breaker.failures_max = 1000;
  settings.deadlines.total = 60s;
  Bench bench(server.base_url(), settings);
  bench.endpoint.submit(request(1));
  const ModelReply reply = bench.reply(50ms);
  CHECK(reply.failure == "overloaded");
  CHECK(reply.latency_s <= 60.1);
  CHECK(reply.attempts > 4);
  CHECK(reply.attempts < 20);
}

TEST_CASE("an answer that is not JSON is named, not retried, and counted by estimate") {
  FakeOpenAiServer server({{.body = "<html>log in first</html>"}});
  const ModelReply reply = single_reply(server);
  CHECK(reply.failure == "malformed_reply");
  CHECK(reply.attempts == 1);
  CHECK(reply.cost.is_estimated);
}

TEST_CASE("an answer without usage is counted by estimate") {
  FakeOpenAiServer server({{.body = R"({"choices": [{"message": {"content": "12345678"}}]})"}});
  const ModelReply reply = single_reply(server);
  CHECK(reply.cost.is_estimated);
  CHECK(reply.cost.input_tokens == estimated_cost(request(1), "").input_tokens);
  CHECK(reply.cost.output_tokens == 3);
}

TEST_CASE("a huge answer is refused") {
  FakeOpenAiServer server({{.body = chat_answer(std::string(33 * 1024 * 1024, 'x'))}});
  CHECK(single_reply(server).failure == "reply_too_big");
}

TEST_CASE("64 calls are in flight together on one thread, each answered once") {
  FakeOpenAiServer server({{.body = chat_answer("x")}}, /*gather=*/64);
  HttpEndpointSettings settings;
  settings.in_flight_max = 64;
  Bench bench(server.base_url(), settings);
  const auto threads_before = std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
  for (int i = 0; i < 64; ++i) bench.endpoint.submit(request(static_cast<std::uint64_t>(i)));
  REQUIRE(bench.turn_until([&] { return server.together_max() == 64 || server.request_count() >= 64; }));
  CHECK(std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}) == threads_before);
  std::set<std::string> ids;
  for (int i = 0; i < 64; ++i) {
    const ModelReply reply = bench.reply();
    CHECK(reply.failure == "");
    ids.insert(reply.id);
  }
  CHECK(ids.size() == 64);
  CHECK(server.together_max() == 64);
  CHECK_FALSE(bench.endpoint.take());
}

TEST_CASE("calls beyond the capacity wait their turn") {
  FakeOpenAiServer server({{.body = chat_answer("x")}});
  HttpEndpointSettings settings;
  settings.in_flight_max = 2;
  Bench bench(server.base_url(), settings);
  for (int i = 0; i < 10; ++i) bench.endpoint.submit(request(static_cast<std::uint64_t>(i)));
  CHECK(bench.http.running() == 2);
  for (int i = 0; i < 10; ++i) CHECK(bench.reply().failure == "");
  CHECK(server.together_max() <= 2);
}

TEST_CASE("a cancelled call hangs up and ends in one reply that says so") {
  StallingServer server;
  Bench bench(server.base_url());
  bench.endpoint.submit(request(1));
  REQUIRE(bench.turn_until([&] { return server.has_request(); }));
  bench.endpoint.cancel("1-0");
  CHECK(bench.reply().failure == "cancelled");
  CHECK(server.sees_hang_up());
  bench.settle();
  CHECK_FALSE(bench.endpoint.take());
  bench.endpoint.cancel("1-0");
  CHECK_FALSE(bench.endpoint.take());
}

TEST_CASE("the endpoint's wait ends when a retry is due") {
  FakeOpenAiServer server({{.status = 500}, {.body = chat_answer("x")}});
  HttpEndpointSettings settings;
  settings.base_url = server.base_url();
  settings.retry.backoff_first = 30ms;
  HttpLoop http;
  HttpEndpoint endpoint(settings, "", http, {}, Rng(1));
  endpoint.submit(request(1));
  std::vector<pollfd> nothing;
  const auto start = std::chrono::steady_clock::now();
  std::optional<ModelReply> reply;
  while (!(reply = endpoint.take()) && std::chrono::steady_clock::now() - start < 10s) {
    endpoint.wait(nothing, 20s);
    endpoint.pump();
  }
  REQUIRE(reply);
  CHECK(reply->text == "x");
}

TEST_CASE("a query of the base URL stays behind the path") {
  CHECK(join_url("https://h/v1/", "/models") == "https://h/v1/models");
  CHECK(join_url("https://h/d?api-version=1", "/models") == "https://h/d/models?api-version=1");
}

TEST_CASE("the most a call can cost covers what it then costs") {
  FakeOpenAiServer server({{.body = R"({"choices": [{"message": {"content": "12345678"}}]})"}});
  HttpEndpointSettings settings;
  settings.prices = {
      .input_usd_per_million = 10, .cached_input_usd_per_million = 1, .output_usd_per_million = 100};
  Bench bench(server.base_url(), settings);
  const double most = bench.endpoint.cost_max(request(1)).usd;
  bench.endpoint.submit(request(1));
  CHECK(bench.reply().cost.usd <= most);
  CHECK(most == Approx((static_cast<double>(most_tokens(request(1))) * 10 + 16384 * 100) / 1e6));
}
