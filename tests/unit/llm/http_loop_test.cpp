// SPDX-License-Identifier: Apache-2.0
// The multi loop against servers on loopback: deadlines, limits, cancellation, foreign descriptors.
#include "engine/llm/http_loop.h"

#include <poll.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/support/catch.h"
#include "tests/support/fake_openai_server.h"
#include "tests/support/hand_clock.h"
#include "tests/support/stalling_server.h"

using namespace kernelites;
using namespace std::chrono_literals;

namespace {

/// Pumps for at most 20 s of real time until `is_done`.
template <typename Condition>
bool pump_until(HttpLoop& loop, Condition is_done) {
  std::vector<pollfd> nothing;
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (std::chrono::steady_clock::now() < end) {
    loop.pump();
    if (is_done()) return true;
    loop.wait(nothing, 5ms);
  }
  return false;
}

HttpResponse finish(HttpLoop& loop, HttpId id) {
  std::optional<HttpResponse> response;
  REQUIRE(pump_until(loop, [&] { return (response = loop.take(id)).has_value(); }));
  return *response;
}

std::string models_url(const std::string& base_url) { return base_url + "/models"; }

/// A response of `StallingServer` that is never completed, after `advance` of the hand clock.
HttpResponse stall(const std::string& beginning, std::chrono::milliseconds advance, bool* is_closed) {
  StallingServer server(beginning);
  HandClock hand;
  HttpLoop loop({}, hand.clock());
  const HttpId id = loop.add({.url = models_url(server.base_url())});
  REQUIRE(pump_until(loop, [&] { return server.has_request(); }));
  for (int i = 0; i < 10; ++i) pump_until(loop, [n = 0]() mutable { return ++n > 2; });
  CHECK_FALSE(loop.take(id));
  hand.advance(advance);
  const HttpResponse response = finish(loop, id);
  *is_closed = server.sees_hang_up();
  return response;
}

}  // namespace

TEST_CASE("a response is delivered once, with status, lower-case headers and body") {
  FakeOpenAiServer server({{.status = 418, .body = "tea", .headers = {{"X-Pot", "  brown "}}}});
  HttpLoop loop;
  const HttpId id = loop.add({.url = models_url(server.base_url())});
  const HttpResponse response = finish(loop, id);
  CHECK(response.failure == HttpFailure::none);
  CHECK(response.status == 418);
  CHECK(response.headers.at("x-pot") == "brown");
  CHECK(response.body == "tea");
  CHECK_FALSE(loop.take(id));
}

TEST_CASE("a refused connection is unreachable and nothing was sent") {
  HttpLoop loop;
  const HttpResponse response = finish(loop, loop.add({.url = "http://127.0.0.1:1/"}));
  CHECK(response.failure == HttpFailure::unreachable);
  CHECK_FALSE(response.is_sent);
  CHECK(response.message.find("127.0.0.1") != std::string::npos);
}

TEST_CASE("a URL of another scheme is not sendable") {
  HttpLoop loop;
  CHECK(finish(loop, loop.add({.url = "file:///etc/hostname"})).failure == HttpFailure::not_sendable);
}

TEST_CASE("a missing first byte ends in a time-out that closes the connection") {
  bool is_closed = false;
  const HttpResponse response = stall("", 601s, &is_closed);
  CHECK(response.failure == HttpFailure::first_byte_timeout);
  CHECK(response.is_sent);
  CHECK(is_closed);
}

TEST_CASE("an answer that stops in the middle ends in an idle time-out that closes the connection") {
  bool is_closed = false;
  const auto response = stall("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", 301s, &is_closed);
  CHECK(response.failure == HttpFailure::idle_timeout);
  CHECK(response.body == "half");
  CHECK(is_closed);
}

TEST_CASE("the total deadline ends what no other deadline ends") {
  bool is_closed = false;
  CHECK(stall("", 901s, &is_closed).failure == HttpFailure::total_timeout);
  CHECK(is_closed);
}

TEST_CASE("a queued request ends at its total deadline without being started") {
  StallingServer server;
  HandClock hand;
  HttpLoop loop({.transfers_max = 1}, hand.clock());
  loop.add({.url = models_url(server.base_url())});
  const HttpId queued = loop.add({.url = models_url(server.base_url())});
  REQUIRE(loop.queued() == 1);
  hand.advance(901s);
  const HttpResponse response = finish(loop, queued);
  CHECK(response.failure == HttpFailure::total_timeout);
  CHECK_FALSE(response.is_sent);
}

TEST_CASE("an answer that is cut short is a lost connection") {
  StallingServer server("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", /*hangs_up=*/true);
  HttpLoop loop;
  const HttpResponse response = finish(loop, loop.add({.url = models_url(server.base_url())}));
  CHECK(response.failure == HttpFailure::connection_lost);
  CHECK(response.is_sent);
}

TEST_CASE("an answer that is not HTTP is a lost connection") {
  StallingServer server("220 mail.example ready\r\n", /*hangs_up=*/true);
  HttpLoop loop;
  CHECK(finish(loop, loop.add({.url = models_url(server.base_url())})).failure ==
        HttpFailure::connection_lost);
}

TEST_CASE("a body over the limit is refused and one at the limit is not") {
  FakeOpenAiServer server({{.body = std::string(1001, 'x')}, {.body = std::string(1000, 'x')}});
  HttpLoop loop({.response_bytes_max = 1000});
  const HttpResponse over = finish(loop, loop.add({.url = models_url(server.base_url())}));
  CHECK(over.failure == HttpFailure::too_big);
  CHECK(over.body.empty());
  CHECK(finish(loop, loop.add({.url = models_url(server.base_url())})).body.size() == 1000);
}

TEST_CASE("a cancelled request closes its connection and delivers nothing") {
  StallingServer server;
  HttpLoop loop;
  const HttpId id = loop.add({.url = models_url(server.base_url())});
  REQUIRE(pump_until(loop, [&] { return server.has_request(); }));
  loop.cancel(id);
  CHECK(loop.running() == 0);
  CHECK(server.sees_hang_up());
  loop.pump();
  CHECK_FALSE(loop.take(id));
}

TEST_CASE("a redirect is reported and not followed") {
  FakeOpenAiServer other({{.body = "secret taken"}});
  FakeOpenAiServer server({{.status = 302, .headers = {{"Location", other.base_url() + "/models"}}}});
  HttpLoop loop;
  CHECK(finish(loop, loop.add({.url = models_url(server.base_url())})).status == 302);
  CHECK(other.request_count() == 0);
}

TEST_CASE("a proxy in the environment is ignored") {
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  FakeOpenAiServer server({{.body = "direct"}});
  HttpLoop loop;
  const HttpResponse response = finish(loop, loop.add({.url = models_url(server.base_url())}));
  ::unsetenv("http_proxy");
  CHECK(response.body == "direct");
}

TEST_CASE("no more transfers than the limit run together, and all finish") {
  FakeOpenAiServer server({{.body = "x"}});
  HttpLoop loop({.transfers_max = 3});
  std::vector<HttpId> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(loop.add({.url = models_url(server.base_url())}));
  CHECK(loop.running() == 3);
  for (HttpId id : ids) CHECK(finish(loop, id).status == 200);
  CHECK(server.together_max() <= 3);
}

TEST_CASE("a wait ends when another descriptor is ready") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  HttpLoop loop;
  std::vector<pollfd> others = {{.fd = ends[0], .events = POLLIN, .revents = 0}};
  REQUIRE(::write(ends[1], "x", 1) == 1);
  const auto start = std::chrono::steady_clock::now();
  loop.wait(others, 20s);
  CHECK(std::chrono::steady_clock::now() - start < 10s);
  CHECK((others[0].revents & POLLIN) != 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("a wait reports that the other end of a pipe has closed") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  HttpLoop loop;
  std::vector<pollfd> others = {{.fd = ends[0], .events = POLLIN, .revents = 0}};
  ::close(ends[1]);
  const auto start = std::chrono::steady_clock::now();
  loop.wait(others, 20s);
  CHECK(std::chrono::steady_clock::now() - start < 10s);
  CHECK((others[0].revents & POLLHUP) != 0);
  ::close(ends[0]);
}

TEST_CASE("a wait does not outlast the next deadline") {
  StallingServer server;
  HttpLoop loop;
  HttpDeadlines deadlines;
  deadlines.total = 50ms;
  const HttpId id = loop.add({.url = models_url(server.base_url()), .deadlines = deadlines});
  const auto start = std::chrono::steady_clock::now();
  std::vector<pollfd> nothing;
  std::optional<HttpResponse> response;
  while (!(response = loop.take(id)) && std::chrono::steady_clock::now() - start < 10s) {
    loop.wait(nothing, 20s);
    loop.pump();
  }
  REQUIRE(response);
  CHECK(response->failure == HttpFailure::total_timeout);
}
