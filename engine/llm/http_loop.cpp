// SPDX-License-Identifier: Apache-2.0
// Queue, transfers, deadlines: libcurl moves the bytes, this file decides when it has had enough.
#include "engine/llm/http_loop.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "engine/core/error.h"
#include "engine/llm/poll_wait.h"

namespace kernelites {
namespace {

template <typename Code>
void check_curl(Code code, const char* text, const char* call, const char* file, int line) {
  if (code != Code{}) throw Error(fmt::format("{}:{}: {}: {}", file, line, call, text));
}

}  // namespace

// Only the call's name is shown: its arguments may be headers.
#define KERNELITES_CURL_EASY(call)                                                                   \
  do {                                                                                               \
    const CURLcode curl_code = (call);                                                               \
    check_curl(curl_code, curl_easy_strerror(curl_code), "libcurl easy handle", __FILE__, __LINE__); \
  } while (false)
#define KERNELITES_CURL_MULTI(call)                                                                    \
  do {                                                                                                 \
    const CURLMcode curl_code = (call);                                                                \
    check_curl(curl_code, curl_multi_strerror(curl_code), "libcurl multi handle", __FILE__, __LINE__); \
  } while (false)

struct HttpLoop::Transfer {
  HttpId id = 0;
  HttpRequest request;
  HttpResponse response;
  const HttpLimits& limits;
  const Clock& clock;
  Clock::Steady added;
  Clock::Steady started;
  Clock::Steady sent;
  Clock::Steady last_byte;
  bool has_first_byte = false;
  bool is_too_big = false;
  std::size_t header_bytes = 0;
  CURLM* multi = nullptr;  // set while the easy handle is in it
  CURL* easy = nullptr;
  curl_slist* header_list = nullptr;
  std::array<char, CURL_ERROR_SIZE> error_text{};

  Transfer(const HttpLimits& limits_of_loop, const Clock& clock_of_loop)
      : limits(limits_of_loop), clock(clock_of_loop) {}
  ~Transfer() {
    // Removing a handle in the middle of a transfer closes its connection (HTTP/1) or resets its stream
    // (HTTP/2).
    if (multi != nullptr) curl_multi_remove_handle(multi, easy);
    if (easy != nullptr) curl_easy_cleanup(easy);
    curl_slist_free_all(header_list);
  }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  void prepare();
  bool on_sent();
  bool on_header(std::string_view line);
  bool on_body(std::string_view bytes);
  Clock::Steady deadline() const;
  HttpFailure passed_deadline(Clock::Steady now) const;

  static std::size_t header_callback(char* data, std::size_t size, std::size_t count, void* self) {
    return static_cast<Transfer*>(self)->on_header({data, size * count}) ? size * count : 0;
  }
  static std::size_t body_callback(char* data, std::size_t size, std::size_t count, void* self) {
    return static_cast<Transfer*>(self)->on_body({data, size * count}) ? size * count : 0;
  }
  static int sent_callback(void* self, char*, char*, int, int) {
    return static_cast<Transfer*>(self)->on_sent() ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
  }
};

void HttpLoop::Transfer::prepare() {
  easy = curl_easy_init();
  if (easy == nullptr) throw Error("libcurl gives no handle: out of memory");
  for (const auto& [name, value] : request.headers) {
    header_list = curl_slist_append(header_list, (name + ": " + value).c_str());
  }
  header_list = curl_slist_append(header_list, "Expect:");  // no round trip before a long prompt
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_PRIVATE, this));
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error_text.data()));
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str()));
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https"));
  KERNELITES_CURL_EASY(
      curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L));  // a key must not travel to another host
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_PROXY,
                                        request.route.proxy.c_str()));  // "": none, whatever http_proxy says
  if (!request.route.ca_file.empty()) {
    KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_CAINFO, request.route.ca_file.c_str()));
  }
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS));
  // Waiting to share the first HTTP/2 connection is short with TLS, whose handshake names the protocol;
  // without it every other call would wait for the first answer.
  const bool is_tls = request.url.rfind("https:", 0) == 0;
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_PIPEWAIT, is_tls ? 1L : 0L));
  // A kept connection that the server has closed meanwhile is noticed only after sending, when nobody knows whether the
  // request was read. Without TLS a new one costs nothing, and small servers close theirs without a word.
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, is_tls ? 0L : 1L));
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L));
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L));
  // A proxy's answer to CONNECT is no first byte of the server's.
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L));
  KERNELITES_CURL_EASY(
      curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L));  // a slow resolver must not block a cancel
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, ""));
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_HTTPHEADER, header_list));
  if (request.body) {
    KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_POST, 1L));
    KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body->data()));
    KERNELITES_CURL_EASY(
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body->size())));
  }
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, header_callback));
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_HEADERDATA, this));
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, body_callback));
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_WRITEDATA, this));
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, sent_callback));
  KERNELITES_CURL_EASY(curl_easy_setopt(easy, CURLOPT_PREREQDATA, this));
}

/// False: this would be the second time.
bool HttpLoop::Transfer::on_sent() {
  if (std::exchange(response.is_sent, true)) return false;
  sent = clock.steady();
  return true;
}

bool HttpLoop::Transfer::on_header(std::string_view line) {
  has_first_byte = true;
  last_byte = clock.steady();
  header_bytes += line.size();
  is_too_big = header_bytes > limits.header_bytes_max;
  if (line.substr(0, 5) == "HTTP/") response.headers.clear();  // an interim response came before
  const auto colon = line.find(':');
  if (is_too_big || colon == std::string_view::npos) return !is_too_big;
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && std::isspace(static_cast<unsigned char>(value.front()))) value.remove_prefix(1);
  while (!value.empty() && std::isspace(static_cast<unsigned char>(value.back()))) value.remove_suffix(1);
  response.headers[name] = value;
  return true;
}

bool HttpLoop::Transfer::on_body(std::string_view bytes) {
  last_byte = clock.steady();
  if (response.first_byte_s == 0)
    response.first_byte_s = std::chrono::duration<double>(last_byte - started).count();
  is_too_big = response.body.size() + bytes.size() > limits.response_bytes_max;
  if (!is_too_big) response.body.append(bytes);
  return !is_too_big;
}

Clock::Steady HttpLoop::Transfer::deadline() const {
  const Clock::Steady total = added + request.deadlines.total;
  if (easy == nullptr) return total;
  if (!response.is_sent) return std::min(total, started + request.deadlines.connect);
  return std::min(total,
                  has_first_byte ? last_byte + request.deadlines.idle : sent + request.deadlines.first_byte);
}

HttpFailure HttpLoop::Transfer::passed_deadline(Clock::Steady now) const {
  if (now < deadline()) return HttpFailure::none;
  if (now >= added + request.deadlines.total) return HttpFailure::total_timeout;
  if (!response.is_sent) return HttpFailure::connect_timeout;
  return has_first_byte ? HttpFailure::idle_timeout : HttpFailure::first_byte_timeout;
}

namespace {

struct CodeRow {
  CURLcode code;
  HttpFailure failure;
};

constexpr CodeRow k_code_table[] = {
    {CURLE_OK, HttpFailure::none},
    {CURLE_COULDNT_RESOLVE_PROXY, HttpFailure::unreachable},
    {CURLE_COULDNT_RESOLVE_HOST, HttpFailure::unreachable},
    {CURLE_COULDNT_CONNECT, HttpFailure::unreachable},
    {CURLE_SSL_CONNECT_ERROR, HttpFailure::unreachable},
    {CURLE_PEER_FAILED_VERIFICATION, HttpFailure::untrusted},
    {CURLE_SSL_CACERT_BADFILE, HttpFailure::not_sendable},
    {CURLE_URL_MALFORMAT, HttpFailure::not_sendable},
    {CURLE_UNSUPPORTED_PROTOCOL, HttpFailure::not_sendable},
};

HttpFailure failure_of(CURLcode code, bool is_sent) {
  for (const CodeRow& row : k_code_table)
    if (row.code == code && !(is_sent && row.failure == HttpFailure::not_sendable)) return row.failure;
  if (code == CURLE_OPERATION_TIMEDOUT && !is_sent) return HttpFailure::connect_timeout;
  return is_sent ? HttpFailure::connection_lost : HttpFailure::unreachable;
}

std::string deadline_words(HttpFailure failure, const HttpDeadlines& deadlines) {
  const auto seconds = [](std::chrono::milliseconds time) {
    return static_cast<double>(time.count()) / 1000.0;
  };
  switch (failure) {
    case HttpFailure::connect_timeout:
      return fmt::format("no connection within {} s", seconds(deadlines.connect));
    case HttpFailure::first_byte_timeout:
      return fmt::format("no answer began within {} s", seconds(deadlines.first_byte));
    case HttpFailure::idle_timeout:
      return fmt::format("the answer stopped for {} s", seconds(deadlines.idle));
    default:
      return fmt::format("not finished within {} s", seconds(deadlines.total));
  }
}

}  // namespace

HttpLoop::HttpLoop(HttpLimits limits, Clock clock) : limits_(limits), clock_(std::move(clock)) {
  KERNELITES_CURL_EASY(curl_global_init(CURL_GLOBAL_DEFAULT));
  multi_ = curl_multi_init();
  if (multi_ == nullptr) throw Error("libcurl gives no multi handle: out of memory");
  KERNELITES_CURL_MULTI(curl_multi_setopt(multi_, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX));
  KERNELITES_CURL_MULTI(
      curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(limits_.transfers_max)));
}

HttpLoop::~HttpLoop() {
  queue_.clear();
  running_.clear();
  curl_multi_cleanup(multi_);
  curl_global_cleanup();
}

HttpId HttpLoop::add(HttpRequest request) {
  KERNELITES_ASSERT(queue_.size() < limits_.queue_max);
  auto transfer = std::make_unique<Transfer>(limits_, clock_);
  transfer->id = ++last_id_;
  transfer->request = std::move(request);
  transfer->added = clock_.steady();
  queue_.push_back(std::move(transfer));
  fill();
  return last_id_;
}

void HttpLoop::cancel(HttpId id) {
  std::erase_if(queue_, [id](const auto& transfer) { return transfer->id == id; });
  running_.erase(id);
  done_.erase(id);
  fill();
}

void HttpLoop::pump() {
  int still_running = 0;
  KERNELITES_CURL_MULTI(curl_multi_perform(multi_, &still_running));
  collect();
  expire();
  fill();
}

void HttpLoop::wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) {
  if (!done_.empty()) timeout = std::chrono::milliseconds(0);
  if (const auto deadline = next_deadline()) {
    timeout = std::min(timeout, std::chrono::ceil<std::chrono::milliseconds>(*deadline - clock_.steady()));
  }
  std::vector<curl_waitfd> extra;
  for (const pollfd& other : others) {
    const int events =
        ((other.events & POLLIN) ? CURL_WAIT_POLLIN : 0) | ((other.events & POLLOUT) ? CURL_WAIT_POLLOUT : 0);
    extra.push_back({.fd = other.fd, .events = static_cast<short>(events), .revents = 0});
  }
  const int timeout_ms = static_cast<int>(std::clamp<std::int64_t>(timeout.count(), 0, 3'600'000));
  KERNELITES_CURL_MULTI(
      curl_multi_poll(multi_, extra.data(), static_cast<unsigned>(extra.size()), timeout_ms, nullptr));
  // libcurl reports no hang-up, so a dead worker's pipe would look quiet: ask the kernel itself.
  if (!others.empty()) poll_wait(others, std::chrono::milliseconds(0));
}

std::optional<HttpResponse> HttpLoop::take(HttpId id) {
  auto node = done_.extract(id);
  if (!node) return std::nullopt;
  return std::move(node.mapped());
}

void HttpLoop::start(std::unique_ptr<Transfer> transfer) {
  transfer->started = clock_.steady();
  transfer->prepare();
  KERNELITES_CURL_MULTI(curl_multi_add_handle(multi_, transfer->easy));
  transfer->multi = multi_;
  running_.emplace(transfer->id, std::move(transfer));
}

/// Takes what libcurl says is finished.
void HttpLoop::collect() {
  int messages_left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &messages_left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    Transfer* transfer = nullptr;
    KERNELITES_CURL_EASY(curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer));
    const HttpFailure failure =
        transfer->is_too_big ? HttpFailure::too_big : failure_of(code, transfer->response.is_sent);
    std::string words;
    if (failure == HttpFailure::too_big) {
      words = fmt::format("the answer is longer than {} bytes", limits_.response_bytes_max);
    } else if (failure != HttpFailure::none) {
      words = transfer->error_text[0] != '\0' ? transfer->error_text.data() : curl_easy_strerror(code);
    }
    end(transfer->id, failure, std::move(words));
  }
}

/// Ends what is past a deadline, running or queued.
void HttpLoop::expire() {
  const Clock::Steady now = clock_.steady();
  std::vector<std::pair<HttpId, HttpFailure>> passed;
  for (const auto& [id, transfer] : running_) {
    if (const HttpFailure failure = transfer->passed_deadline(now); failure != HttpFailure::none) {
      passed.emplace_back(id, failure);
    }
  }
  for (const auto& [id, failure] : passed)
    end(id, failure, deadline_words(failure, running_.at(id)->request.deadlines));
  std::erase_if(queue_, [&](const std::unique_ptr<Transfer>& transfer) {
    if (now < transfer->deadline()) return false;
    done_[transfer->id] = {
        .failure = HttpFailure::total_timeout,
        .message = deadline_words(HttpFailure::total_timeout, transfer->request.deadlines)};
    return true;
  });
}

void HttpLoop::fill() {
  while (!queue_.empty() && running_.size() < limits_.transfers_max) {
    auto transfer = std::move(queue_.front());
    queue_.pop_front();
    start(std::move(transfer));
  }
}

void HttpLoop::end(HttpId id, HttpFailure failure, std::string message) {
  auto node = running_.extract(id);
  Transfer& transfer = *node.mapped();
  HttpResponse response = std::move(transfer.response);
  long status = 0;
  KERNELITES_CURL_EASY(curl_easy_getinfo(transfer.easy, CURLINFO_RESPONSE_CODE, &status));
  response.status = static_cast<int>(status);
  response.failure = failure;
  response.message = std::move(message);
  response.seconds = std::chrono::duration<double>(clock_.steady() - transfer.started).count();
  if (failure == HttpFailure::too_big) response.body.clear();
  done_.emplace(id, std::move(response));
}

std::optional<Clock::Steady> HttpLoop::next_deadline() const {
  std::optional<Clock::Steady> next;
  const auto consider = [&](const Transfer& transfer) {
    next = next ? std::min(*next, transfer.deadline()) : transfer.deadline();
  };
  for (const auto& [id, transfer] : running_) consider(*transfer);
  for (const auto& transfer : queue_) consider(*transfer);
  return next;
}

}  // namespace kernelites
