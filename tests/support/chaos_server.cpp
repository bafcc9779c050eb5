// SPDX-License-Identifier: Apache-2.0
// One poll loop over plain sockets: requests in, mischief out.
#include "tests/support/chaos_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <thread>
#include <vector>

#include "engine/core/rng.h"

namespace kernelites {
namespace {

using Steady = std::chrono::steady_clock;
using namespace std::chrono_literals;

struct MischiefRow {
  Mischief mischief;
  const char* failure;
  bool is_lost;  ///< the client cannot know what it cost
};

constexpr MischiefRow k_rows[] = {
    {Mischief::answer, "", false},
    {Mischief::stream, "", false},
    {Mischief::drip, "", false},
    {Mischief::rate_limit, "rate_limited", false},
    {Mischief::server_error, "server_error", false},
    {Mischief::overload, "overloaded", false},
    {Mischief::stall, "first_byte_timeout", true},
    {Mischief::stall_middle, "idle_timeout", true},
    {Mischief::cut, "stream_broken", true},
    {Mischief::hang_up, "connection_lost", true},
    {Mischief::noise, "connection_lost", true},
    {Mischief::broken_json, "malformed_reply", true},
    {Mischief::redirect, "redirected", false},
    {Mischief::filter, "content_filter", false},
    {Mischief::length, "length", false},
};

const MischiefRow& row_of(Mischief mischief) { return k_rows[static_cast<std::size_t>(mischief)]; }

constexpr const char* k_usage = R"("usage":{"prompt_tokens":10,"completion_tokens":5})";

std::string http(int status, const std::string& type, const std::string& body, const std::string& more = "") {
  return fmt::format("HTTP/1.1 {} X\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}\r\n{}", status, type,
                     body.size(), more, body);
}

std::string document(const std::string& finish) {
  return fmt::format(
      R"({{"model":"chaos","choices":[{{"message":{{"content":"faster"}},"finish_reason":"{}"}}],{}}})",
      finish, k_usage);
}

/// The pieces of a stream with chunked transfer, which ends with the last one.
std::deque<std::string> stream_pieces() {
  const auto chunk = [](const std::string& data) {
    const std::string event = "data: " + data + "\n\n";
    return fmt::format("{:x}\r\n{}\r\n", event.size(), event);
  };
  std::deque<std::string> pieces = {
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"};
  for (const char* word : {"fa", "st", "er"})
    pieces.push_back(
        chunk(fmt::format(R"({{"model":"chaos","choices":[{{"delta":{{"content":"{}"}}}}]}})", word)));
  pieces.push_back(chunk(R"({"choices":[{"delta":{},"finish_reason":"stop"}]})"));
  pieces.push_back(chunk(fmt::format(R"({{"choices":[],{}}})", k_usage)));
  pieces.push_back(chunk("[DONE]") + "0\r\n\r\n");
  return pieces;
}

struct Connection {
  int descriptor = -1;
  std::string input;
  std::deque<std::string> pieces;  ///< still to be dripped
  Steady::time_point next_piece;
  bool is_over = false;
};

int listen_on_loopback(int& port) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(listener, 256) != 0)
    std::abort();
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  port = ntohs(address.sin_port);
  return listener;
}

void say(const Connection& connection, const std::string& text) {
  [[maybe_unused]] const ssize_t sent = ::send(connection.descriptor, text.data(), text.size(), MSG_NOSIGNAL);
}

/// Length of the whole request at the front of `input`, or 0 while it is not all there.
std::size_t request_bytes(const std::string& input) {
  const std::size_t end = input.find("\r\n\r\n");
  if (end == std::string::npos) return 0;
  const std::size_t field = input.find("Content-Length: ");
  const std::size_t body = field < end ? std::strtoul(input.c_str() + field + 16, nullptr, 10) : 0;
  return input.size() >= end + 4 + body ? end + 4 + body : 0;
}

}  // namespace

const char* failure_of(Mischief mischief) { return row_of(mischief).failure; }

struct ChaosServer::Body {
  std::map<Mischief, int> per_mille;
  Rng rng;
  int port = 0, other_port = 0;
  int listener = -1, other_listener = -1;
  std::atomic<bool> is_stopping = false;
  std::atomic<int> followed = 0;
  std::map<int, ChaosRecord> records;
  std::vector<Connection> connections;
  std::thread thread;

  Body(std::map<Mischief, int> mix, std::uint64_t seed) : per_mille(std::move(mix)), rng(seed) {
    listener = listen_on_loopback(port);
    other_listener = listen_on_loopback(other_port);
    thread = std::thread([this] { serve(); });
  }
  ~Body() {
    is_stopping = true;
    thread.join();
    for (const Connection& connection : connections) ::close(connection.descriptor);
    ::close(listener);
    ::close(other_listener);
  }

  Mischief draw() {
    std::uint64_t number = rng.below(1000);
    for (const auto& [mischief, share] : per_mille) {
      if (number < static_cast<std::uint64_t>(share)) return mischief;
      number -= static_cast<std::uint64_t>(share);
    }
    return Mischief::answer;
  }

  void serve() {
    while (!is_stopping) {
      std::vector<pollfd> entries = {{listener, POLLIN, 0}, {other_listener, POLLIN, 0}};
      for (const Connection& connection : connections) entries.push_back({connection.descriptor, POLLIN, 0});
      ::poll(entries.data(), entries.size(), 2);
      accept_all();
      for (std::size_t i = 2; i < entries.size(); ++i)
        if (entries[i].revents != 0) read_from(connections[i - 2]);
      const auto now = Steady::now();
      for (Connection& connection : connections) drip(connection, now);
      std::erase_if(connections, [](const Connection& connection) {
        if (connection.is_over) ::close(connection.descriptor);
        return connection.is_over;
      });
    }
  }

  /// New connections go to the back, so that the entries of this turn stay in step.
  void accept_all() {
    for (int descriptor = 0; (descriptor = ::accept4(other_listener, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      ++followed;
      ::close(descriptor);
    }
    for (int descriptor = 0;
         (descriptor = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
      const int on = 1;
      ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      connections.push_back({.descriptor = descriptor});
    }
  }

  void read_from(Connection& connection) {
    std::array<char, 16384> bytes;
    const ssize_t count = ::recv(connection.descriptor, bytes.data(), bytes.size(), 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
      connection.is_over = true;
      return;
    }
    connection.input.append(bytes.data(), static_cast<std::size_t>(count));
    if (const std::size_t length = request_bytes(connection.input); length > 0) {
      const std::string request = connection.input.substr(0, length);
      connection.input.erase(0, length);
      act(connection, request);
    }
  }

  void act(Connection& connection, const std::string& request) {
    const std::size_t at = request.find("call ");
    ChaosRecord& record = records[std::atoi(request.c_str() + at + 5)];
    const Mischief mischief = draw();
    ++record.requests;
    record.last = mischief;
    record.has_lost_one |= row_of(mischief).is_lost;
    switch (mischief) {
      case Mischief::answer:
        ++record.answered;
        return say(connection, http(200, "application/json", document("stop")));
      case Mischief::stream:
        ++record.answered;
        for (const std::string& piece : stream_pieces()) say(connection, piece);
        return;
      case Mischief::drip:
        ++record.answered;
        connection.pieces = stream_pieces();
        return;
      case Mischief::rate_limit:
        return say(connection, http(429, "application/json", "{}", "Retry-After: 0\r\n"));
      case Mischief::server_error:
        return say(connection, http(500, "text/html", "<html>"));
      case Mischief::overload:
        return say(connection, http(529, "application/json", R"({"error":{"type":"overloaded_error"}})"));
      case Mischief::stall_middle:
      case Mischief::cut: {
        const auto pieces = stream_pieces();
        for (std::size_t i = 0; i < 3; ++i) say(connection, pieces[i]);
        connection.is_over = mischief == Mischief::cut;
        return;
      }
      case Mischief::hang_up:
        connection.is_over = true;
        return;
      case Mischief::noise:
        say(connection, "220 mail.example ready\r\n\x01\x02");
        connection.is_over = true;
        return;
      case Mischief::broken_json:
        return say(connection, http(200, "application/json", R"({"choices":[{"mess)"));
      case Mischief::redirect:
        return say(connection, http(302, "text/plain", "",
                                    fmt::format("Location: http://127.0.0.1:{}/v1\r\n", other_port)));
      case Mischief::filter:
      case Mischief::length:
        ++record.answered;
        return say(connection, http(200, "application/json",
                                    document(mischief == Mischief::filter ? "content_filter" : "length")));
      case Mischief::stall:
      case Mischief::count_:
        return;
    }
  }

  void drip(Connection& connection, Steady::time_point now) {
    if (connection.pieces.empty() || now < connection.next_piece) return;
    say(connection, connection.pieces.front());
    connection.pieces.pop_front();
    connection.next_piece = now + 5ms;
  }
};

ChaosServer::ChaosServer(std::map<Mischief, int> per_mille, std::uint64_t seed)
    : body_(std::make_unique<Body>(std::move(per_mille), seed)) {}
ChaosServer::~ChaosServer() = default;

std::string ChaosServer::base_url() const { return fmt::format("http://127.0.0.1:{}/v1", body_->port); }
const std::map<int, ChaosRecord>& ChaosServer::records() const { return body_->records; }
int ChaosServer::followed_redirects() const { return body_->followed; }

}  // namespace kernelites
