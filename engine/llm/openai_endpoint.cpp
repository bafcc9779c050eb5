// SPDX-License-Identifier: Apache-2.0
// The life of a call: attempts, waits, and one reply at its end.
#include "engine/llm/openai_endpoint.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>

#include "engine/core/error.h"

namespace kernelites {
namespace {

using std::chrono::milliseconds;

double seconds_of(Clock::Steady::duration time) { return std::chrono::duration<double>(time).count(); }

void add_usage(ModelUsage& sum, const ModelUsage& usage) {
  sum.input_tokens += usage.input_tokens;
  sum.cached_input_tokens += usage.cached_input_tokens;
  sum.output_tokens += usage.output_tokens;
  sum.reasoning_tokens += usage.reasoning_tokens;
  sum.cache_write_tokens += usage.cache_write_tokens;
  sum.is_estimated |= usage.is_estimated;
}

void blot_out(std::string& text, const std::string& secret) {
  constexpr std::size_t k_secret_bytes_min =
      6;  // shorter values are flags, and would blot out ordinary words
  if (secret.size() < k_secret_bytes_min) return;
  for (std::size_t at = text.find(secret); at != std::string::npos; at = text.find(secret, at)) {
    text.replace(at, secret.size(), "[secret]");
  }
}

}  // namespace

std::string join_url(const std::string& base_url, const std::string& path) {
  const std::size_t query = std::min(base_url.find('?'), base_url.size());
  std::string url = base_url.substr(0, query);
  while (!url.empty() && url.back() == '/') url.pop_back();
  return url + path + base_url.substr(query);
}

std::vector<std::pair<std::string, std::string>> request_headers(const OpenAiSettings& settings,
                                                                 const std::string& api_key) {
  std::vector<std::pair<std::string, std::string>> headers = {{"Content-Type", "application/json"}};
  if (!api_key.empty()) {
    const bool is_bearer = settings.api_key_header == "Authorization";
    headers.emplace_back(settings.api_key_header, is_bearer ? "Bearer " + api_key : api_key);
  }
  headers.insert(headers.end(), settings.headers.begin(), settings.headers.end());
  return headers;
}

std::string without_secrets(std::string text, const OpenAiSettings& settings, const std::string& api_key) {
  blot_out(text, api_key);
  for (const auto& [name, value] : settings.headers) blot_out(text, value);
  return text;
}

OpenAiEndpoint::OpenAiEndpoint(OpenAiSettings settings, std::string api_key, HttpLoop& http, Clock clock,
                               Rng rng)
    : settings_(std::move(settings)),
      api_key_(std::move(api_key)),
      http_(http),
      clock_(std::move(clock)),
      rng_(std::move(rng)) {}

OpenAiEndpoint::~OpenAiEndpoint() {
  for (const auto& [id, call] : calls_)
    if (call.transfer) http_.cancel(*call.transfer);
}

void OpenAiEndpoint::submit(ModelRequest request) {
  KERNELITES_ASSERT(!calls_.contains(request.id));
  const Clock::Steady now = clock_.steady();
  const std::string id = request.id;
  Call& call = calls_[id];
  call = {.request = std::move(request),
          .submitted = now,
          .deadline = now + settings_.deadlines.total,
          .next_attempt = now};
  if (now >= held_until_ && sending() < capacity()) send(call);
}

void OpenAiEndpoint::cancel(const std::string& id) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return;
  Call& call = found->second;
  if (call.transfer) {
    http_.cancel(*call.transfer);
    add_usage(call.usage, estimated_usage(call.request, ""));
  }
  finish(call, {.failure = "cancelled", .message = "the call was cancelled"});
  calls_.erase(found);
}

void OpenAiEndpoint::wait(std::vector<pollfd>& others, milliseconds timeout) {
  if (!done_.empty()) timeout = milliseconds(0);
  for (const auto& [id, call] : calls_) {
    if (call.transfer || sending() >= capacity()) continue;
    const Clock::Steady due = std::min(std::max(call.next_attempt, held_until_), call.deadline);
    timeout = std::min(timeout, std::chrono::ceil<milliseconds>(due - clock_.steady()));
  }
  http_.wait(others, timeout);
}

void OpenAiEndpoint::pump() {
  http_.pump();
  const Clock::Steady now = clock_.steady();
  for (auto it = calls_.begin(); it != calls_.end();) {
    Call& call = it->second;
    bool is_over = false;
    if (call.transfer) {
      if (const auto response = http_.take(*call.transfer)) {
        call.transfer.reset();
        is_over = settle(call, *response);
      }
    } else if (now >= call.deadline) {
      if (call.last.failure.empty())
        call.last = {.failure = "timeout", .message = "no attempt could be made in time"};
      finish(call, std::move(call.last));
      is_over = true;
    } else if (now >= std::max(call.next_attempt, held_until_) && sending() < capacity()) {
      send(call);
    }
    it = is_over ? calls_.erase(it) : std::next(it);
  }
}

std::optional<ModelReply> OpenAiEndpoint::take() {
  if (done_.empty()) return std::nullopt;
  ModelReply reply = std::move(done_.front());
  done_.pop_front();
  return reply;
}

double OpenAiEndpoint::usd_max(const ModelRequest& request) const {
  ModelUsage usage = estimated_usage(request, "");
  usage.input_tokens *= 2;  // the estimate counts four bytes to a token
  usage.output_tokens = request.output_tokens_max;
  return price_usd(usage, settings_.prices);
}

void OpenAiEndpoint::send(Call& call) {
  ++call.attempts;
  HttpDeadlines deadlines = settings_.deadlines;
  deadlines.total = std::chrono::ceil<milliseconds>(call.deadline - clock_.steady());
  call.transfer = http_.add({.url = join_url(settings_.base_url, "/chat/completions"),
                             .headers = request_headers(settings_, api_key_),
                             .body = chat_body(call.request, settings_.shape),
                             .route = settings_.route,
                             .deadlines = deadlines});
}

bool OpenAiEndpoint::settle(Call& call, const HttpResponse& response) {
  ChatOutcome outcome = read_chat_response(response);
  // A status below 200 or above 299 is an answer that costs nothing; a lost or unreadable one may have cost
  // its input.
  const bool may_have_cost =
      response.is_sent && (response.failure != HttpFailure::none || response.status / 100 == 2);
  if (outcome.usage) {
    add_usage(call.usage, *outcome.usage);
  } else if (may_have_cost) {
    add_usage(call.usage, estimated_usage(call.request, outcome.text));
  }
  if (outcome.failure.empty() || !outcome.is_retryable) {
    finish(call, std::move(outcome));
    return true;
  }
  call.last = std::move(outcome);
  if (schedule_retry(call, response)) return false;
  finish(call, std::move(call.last));
  return true;
}

/// False if there will be no further attempt; the reason is added to the failure's words.
bool OpenAiEndpoint::schedule_retry(Call& call, const HttpResponse& response) {
  if (call.attempts >= settings_.retry.attempts_max) {
    call.last.message += fmt::format("; gave up after {} attempts", call.attempts);
    return false;
  }
  const auto header = [&](const char* name) {
    const auto found = response.headers.find(name);
    return found == response.headers.end() ? std::string() : found->second;
  };
  const auto retry_after = parse_retry_after(header("retry-after"), header("date"), clock_.system());
  const milliseconds delay = retry_delay(settings_.retry, call.attempts, retry_after, rng_);
  const Clock::Steady now = clock_.steady();
  if (now + delay >= call.deadline) {
    call.last.message += fmt::format("; the next attempt would be in {:.0f} s, after the call's deadline",
                                     std::max(0.0, seconds_of(delay)));
    return false;
  }
  if (retry_after) held_until_ = std::max(held_until_, now + *retry_after);
  call.next_attempt = now + delay;
  return true;
}

void OpenAiEndpoint::finish(Call& call, ChatOutcome outcome) {
  call.usage.usd = price_usd(call.usage, settings_.prices);
  done_.push_back({.id = call.request.id,
                   .text = std::move(outcome.text),
                   .tool_calls = std::move(outcome.tool_calls),
                   .finish = std::move(outcome.finish),
                   .model = outcome.model.empty() ? settings_.shape.model : std::move(outcome.model),
                   .failure = std::move(outcome.failure),
                   .message = without_secrets(std::move(outcome.message), settings_, api_key_),
                   .usage = call.usage,
                   .latency_s = seconds_of(clock_.steady() - call.submitted),
                   .attempts = call.attempts});
}

std::size_t OpenAiEndpoint::sending() const {
  return static_cast<std::size_t>(std::count_if(
      calls_.begin(), calls_.end(), [](const auto& entry) { return entry.second.transfer.has_value(); }));
}

}  // namespace kernelites
