// SPDX-License-Identifier: Apache-2.0
// All HTTP of a run: one libcurl multi handle on one thread, with deadlines that really end transfers.
//
// A transfer waits in a queue until fewer than `transfers_max` are running, then has four deadlines:
// `connect` from its start to the sent request, `first_byte` from there, `idle` between any two bytes of the
// reply, and `total` from `add` on, the queue included. All are measured on the clock that is passed in; a
// passed deadline removes the transfer and closes its connection. A request is sent once: libcurl's own second try on a
// stale connection is prevented, since a model call may have been charged. Redirects are never followed, proxies come
// from the request and never from the environment, and no failure text contains a request header.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/clock.h"

struct pollfd;

namespace kernelites {

struct HttpDeadlines {
  std::chrono::milliseconds connect{15'000};
  std::chrono::milliseconds first_byte{600'000};  ///< models think before they speak
  std::chrono::milliseconds idle{300'000};        ///< and go on thinking after a first sign of life
  std::chrono::milliseconds total{900'000};
};

/// What a request passes on its way.
struct HttpRoute {
  std::string proxy;    ///< URL of a proxy; empty: none
  std::string ca_file;  ///< PEM file of trusted certificates; empty: the system's
};

struct HttpRequest {
  std::string url;                                           ///< http or https
  std::vector<std::pair<std::string, std::string>> headers;  ///< may hold secrets
  std::optional<std::string> body;                           ///< POST if present, else GET
  HttpRoute route;
  HttpDeadlines deadlines;
};

/// How a transfer ended. `none` means that a whole response arrived, whatever its status.
enum class HttpFailure {
  none,
  unreachable,         ///< no such host, refused, no route: nothing was sent
  connect_timeout,     ///< nothing was sent
  first_byte_timeout,  ///< sent, and no answer began
  idle_timeout,        ///< the answer stopped in the middle
  total_timeout,
  connection_lost,  ///< sent, and the connection broke
  untrusted,        ///< the server's certificate was not accepted
  too_big,          ///< more than `response_bytes_max`
  not_sendable      ///< a URL, proxy or file that libcurl refuses
};

struct HttpResponse {
  HttpFailure failure = HttpFailure::none;
  std::string message;   ///< the failure in words, without secrets
  bool is_sent = false;  ///< the server may have acted on the request
  int status = 0;
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;                            ///< of a failed transfer: what had come
  double seconds = 0;                          ///< from the start of the transfer, the queue excluded
  double first_byte_s = 0;  ///< from the start of the transfer to the first byte of the body; 0: none came
};

struct HttpLimits {
  std::size_t transfers_max = 64;                     ///< at once; the rest queue
  std::size_t queue_max = 4096;                       ///< more is a programmer's error
  std::size_t response_bytes_max = 32 * 1024 * 1024;  ///< body after decompression
  std::size_t header_bytes_max = 64 * 1024;
};

using HttpId = std::uint64_t;

/// Not thread-safe, not movable: libcurl holds its address.
class HttpLoop {
 public:
  explicit HttpLoop(HttpLimits limits = {}, Clock clock = {});
  ~HttpLoop();
  HttpLoop(const HttpLoop&) = delete;
  HttpLoop& operator=(const HttpLoop&) = delete;

  /// Queues a request. Its response is taken with the id. REQUIRES: fewer than `queue_max` are queued.
  HttpId add(HttpRequest request);
  /// Forgets the request and closes its connection; no response follows. An unknown id is ignored.
  void cancel(HttpId id);
  /// Moves data, ends what is past its deadline, starts what is queued. Never blocks.
  void pump();
  /// Waits for a transfer, a deadline or one of `others` (whose `revents` it fills), at most `timeout`. It
  /// does not wait while responses are ready to be taken.
  void wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout);
  /// The response of a finished request, once.
  std::optional<HttpResponse> take(HttpId id);

  std::size_t running() const { return running_.size(); }
  std::size_t queued() const { return queue_.size(); }

 private:
  struct Transfer;

  void start(std::unique_ptr<Transfer> transfer);
  void collect();
  void expire();
  void fill();
  void end(HttpId id, HttpFailure failure, std::string message);
  std::optional<Clock::Steady> next_deadline() const;

  HttpLimits limits_;
  Clock clock_;
  void* multi_;  // CURLM*, so that only the source includes curl
  HttpId last_id_ = 0;
  std::deque<std::unique_ptr<Transfer>> queue_;
  std::map<HttpId, std::unique_ptr<Transfer>> running_;
  std::map<HttpId, HttpResponse> done_;
};

}  // namespace kernelites
