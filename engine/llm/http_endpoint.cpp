// SPDX-License-Identifier: Apache-2.0
// The life of a call: attempts, waits, and one reply at its end.
#include "engine/llm/http_endpoint.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/llm/failure_policy.h"
#include "engine/llm/secret_text.h"
#include "engine/llm/utf8_text.h"

namespace kernelites {
namespace {

using std::chrono::milliseconds;

double seconds_of(Clock::Steady::duration time) { return std::chrono::duration<double>(time).count(); }

const Dialect& known_dialect(const std::string& name) {
  const Dialect* dialect = find_dialect(name);
  KERNELITES_ASSERT(dialect != nullptr);
  return *dialect;
}

std::string said(const ModelOutcome& outcome) {
  std::string text = outcome.text;
  for (const ToolCall& call : outcome.tool_calls) text += call.name + call.arguments;
  return text;
}

}  // namespace

std::string join_url(const std::string& base_url, const std::string& path) {
  const std::size_t query = std::min(base_url.find('?'), base_url.size());
  std::string url = base_url.substr(0, query);
  while (!url.empty() && url.back() == '/') url.pop_back();
  return url + path + base_url.substr(query);
}

std::vector<std::pair<std::string, std::string>> request_headers(const HttpEndpointSettings& settings,
                                                                 const std::string& api_key) {
  std::vector<std::pair<std::string, std::string>> headers = {{"Content-Type", "application/json"}};
  if (settings.dialect == "messages") headers.emplace_back("anthropic-version", "2023-06-01");
  if (!api_key.empty()) {
    const bool is_bearer = settings.api_key_header == "Authorization";
    headers.emplace_back(settings.api_key_header, is_bearer ? "Bearer " + api_key : api_key);
  }
  headers.insert(headers.end(), settings.headers.begin(), settings.headers.end());
  return headers;
}

std::string without_secrets(std::string text, const HttpEndpointSettings& settings,
                            const std::string& api_key) {
  blot_out(text, api_key);
  for (const auto& [name, value] : settings.headers) blot_out(text, value);
  return text;
}

HttpEndpoint::HttpEndpoint(HttpEndpointSettings settings, std::string api_key, HttpLoop& http, Clock clock,
                           Rng rng)
    : settings_(std::move(settings)),
      dialect_(known_dialect(settings_.dialect)),
      api_key_(std::move(api_key)),
      http_(http),
      clock_(std::move(clock)),
      rng_(std::move(rng)),
      limiter_(settings_.limits, clock_.steady()),
      breaker_(settings_.breaker) {}

HttpEndpoint::~HttpEndpoint() {
  for (const auto& [order, call] : calls_)
    if (call.transfer) http_.cancel(*call.transfer);
}

void HttpEndpoint::submit(ModelRequest request) {
  const Clock::Steady now = clock_.steady();
  Call& call = calls_[++last_call_];
  call = {.request = std::move(request),
          .submitted = now,
          .deadline = now + settings_.deadlines.total,
          .next_attempt = now};
  const std::int64_t input = estimated_cost(call.request, "").input_tokens;
  call.tokens_expected = static_cast<double>(input + call.request.output_tokens_max);
  if (may_send(call, now)) send(call);
}

void HttpEndpoint::cancel(const std::string& id) {
  const auto found = std::find_if(calls_.begin(), calls_.end(),
                                  [&](const auto& entry) { return entry.second.request.id == id; });
  if (found == calls_.end()) return;
  Call& call = found->second;
  if (call.transfer) {
    http_.cancel(*call.transfer);
    --sending_;
    if (call.is_trial) breaker_.abandoned();
    call.cost += lost_attempt(call.request, "");
  }
  finish(call, {.failure = "cancelled", .message = "the call was cancelled"});
  calls_.erase(found);
}

void HttpEndpoint::wait(std::vector<pollfd>& others, milliseconds timeout) {
  http_.wait(others, std::min(timeout, due_in()));
}

milliseconds HttpEndpoint::due_in() const {
  if (!done_.empty()) return milliseconds(0);
  const Clock::Steady now = clock_.steady();
  milliseconds due = std::chrono::hours(1);
  for (const auto& [order, call] : calls_) {
    if (call.transfer) continue;
    const Clock::Steady next =
        sending_ >= capacity() ? call.deadline : std::min(due_at(call, now), call.deadline);
    due = std::min(due, std::max(milliseconds(0), std::chrono::ceil<milliseconds>(next - now)));
  }
  return due;
}

void HttpEndpoint::pump() {
  http_.pump();
  const Clock::Steady now = clock_.steady();
  for (auto it = calls_.begin(); it != calls_.end();)
    it = advance(it->second, now) ? calls_.erase(it) : std::next(it);
}

std::optional<ModelReply> HttpEndpoint::take() {
  if (done_.empty()) return std::nullopt;
  ModelReply reply = std::move(done_.front());
  done_.pop_front();
  return reply;
}

CostBound HttpEndpoint::cost_max(const ModelRequest& request) const {
  CostBound most = Endpoint::cost_max(request);
  most.usd = price_usd_max(request, settings_.prices);
  return most;
}

/// What an attempt may have cost whose end nobody saw.
CallCost HttpEndpoint::lost_attempt(const ModelRequest& request, const std::string& answer) const {
  CallCost cost = estimated_cost(request, answer);
  cost.usd = price_usd(cost, settings_.prices);
  cost.most = cost_max(request);
  return cost;
}

/// When the next attempt of a waiting call may start, as far as the clock decides it.
Clock::Steady HttpEndpoint::due_at(const Call& call, Clock::Steady now) const {
  Clock::Steady due = std::max(call.next_attempt, held_until_);
  // While a trial runs, its end decides and not the clock.
  if (!breaker_.is_closed())
    due = std::max(due, breaker_.allows(breaker_.open_until()) ? breaker_.open_until() : call.deadline);
  return std::max(due, limiter_.ready_at(call.tokens_expected, now));
}

bool HttpEndpoint::may_send(const Call& call, Clock::Steady now) const {
  return sending_ < capacity() && breaker_.allows(now) && due_at(call, now) <= now;
}

void HttpEndpoint::send(Call& call) {
  ++call.attempts;
  ++sending_;
  call.is_trial = breaker_.started();
  limiter_.take(call.tokens_expected, clock_.steady());
  HttpDeadlines deadlines = settings_.deadlines;
  deadlines.total = std::chrono::ceil<milliseconds>(call.deadline - clock_.steady());
  call.transfer = http_.add({.url = join_url(settings_.base_url, dialect_.path),
                             .headers = request_headers(settings_, api_key_),
                             .body = dialect_.body(call.request, settings_.shape),
                             .route = settings_.route,
                             .deadlines = deadlines});
}

bool HttpEndpoint::advance(Call& call, Clock::Steady now) {
  if (!call.transfer) {
    if (end_waiting(call, now)) return true;
    if (may_send(call, now)) send(call);
    return false;
  }
  auto response = http_.take(*call.transfer);
  if (!response) return false;
  call.transfer.reset();
  --sending_;
  return settle(call, *std::move(response));
}

bool HttpEndpoint::end_waiting(Call& call, Clock::Steady now) {
  const bool is_open = !breaker_.is_closed();
  if (is_open &&
      (breaker_.open_until() >= call.deadline || (settings_.fails_when_open && !breaker_.allows(now)))) {
    const std::string before = call.last.message.empty() ? "" : "; the last failure: " + call.last.message;
    call.last.failure = "circuit_open";
    call.last.message = fmt::format("the server failed {} times in a row and is left alone for {:.0f} s{}",
                                    settings_.breaker.failures_max,
                                    std::max(0.0, seconds_of(breaker_.open_until() - now)), before);
    finish(call, std::move(call.last));
    return true;
  }
  if (now < call.deadline) return false;
  if (call.last.failure.empty())
    call.last = {.failure = "timeout", .message = "no attempt could be made in time"};
  finish(call, std::move(call.last));
  return true;
}

bool HttpEndpoint::settle(Call& call, HttpResponse response) {
  // Before anything is read: what is quoted from the middle of a body could hold half a key.
  response.body = without_secrets(std::move(response.body), settings_, api_key_);
  ModelOutcome outcome = read_response(response, dialect_);
  blot(outcome);
  call.first_byte_s = response.first_byte_s;
  count(call, outcome, response);
  judge(call, outcome.failure);
  if (!failure_policy(outcome.failure).is_retryable) {
    finish(call, std::move(outcome));
    return true;
  }
  call.last = std::move(outcome);
  if (schedule_retry(call, response)) return false;
  finish(call, std::move(call.last));
  return true;
}

/// A status below 200 or above 299 is an answer that costs nothing; a lost or unreadable one may have cost its input
/// and what came of its output.
void HttpEndpoint::count(Call& call, const ModelOutcome& outcome, const HttpResponse& response) {
  const bool may_have_cost =
      response.is_sent && (response.failure != HttpFailure::none || response.status / 100 == 2);
  CallCost used;
  if (outcome.usage) {
    used = *outcome.usage;
    used.usd = price_usd(used, settings_.prices);
  } else if (may_have_cost) {
    used = lost_attempt(call.request, said(outcome));
  }
  call.cost += used;
  limiter_.settle(call.tokens_expected, static_cast<double>(used.tokens()), clock_.steady());
}

void HttpEndpoint::judge(const Call& call, const std::string& failure) {
  const bool says_nothing = failure == "not_sendable" || failure == "untrusted_server";
  if (failure_policy(failure).blames_server)
    breaker_.failed(clock_.steady(), call.is_trial);
  else if (!says_nothing)
    breaker_.succeeded();
  else if (call.is_trial)
    breaker_.abandoned();
}

/// Servers echo keys, also where nobody looks for them.
void HttpEndpoint::blot(ModelOutcome& outcome) const {
  const auto clean = [&](std::string& text) { text = without_secrets(std::move(text), settings_, api_key_); };
  for (std::string* text : {&outcome.text, &outcome.model, &outcome.message, &outcome.finish}) clean(*text);
  for (ToolCall& call : outcome.tool_calls)
    for (std::string* text : {&call.id, &call.name, &call.arguments}) clean(*text);
}

/// False if there will be no further attempt; the reason is added to the failure's words.
bool HttpEndpoint::schedule_retry(Call& call, const HttpResponse& response) {
  const auto header = [&](const char* name) {
    const auto found = response.headers.find(name);
    return found == response.headers.end() ? std::string() : found->second;
  };
  const auto retry_after = parse_retry_after(header("retry-after"), header("date"), clock_.system());
  const Clock::Steady now = clock_.steady();
  // Holds back every call, also if this one is not made again.
  if (retry_after) held_until_ = std::max(held_until_, now + *retry_after);
  if (call.attempts >= settings_.retry.attempts_max) {
    call.last.message += fmt::format("; gave up after {} attempts", call.attempts);
    return false;
  }
  if (!fits(most_of(call.cost), cost_max(call.request), call.request.limit)) {
    call.last.message += "; another attempt could cost more than the call's limit";
    return false;
  }
  const milliseconds delay = retry_delay(settings_.retry, call.attempts, retry_after, rng_);
  if (now + delay >= call.deadline) {
    call.last.message += fmt::format("; the next attempt would be in {:.0f} s, after the call's deadline",
                                     std::max(0.0, seconds_of(delay)));
    return false;
  }
  call.next_attempt = now + delay;
  return true;
}

void HttpEndpoint::finish(Call& call, ModelOutcome outcome) {
  const bool keeps_text = outcome.failure.empty() || outcome.failure == "length";
  if (!keeps_text) outcome.text.clear();
  done_.push_back(
      {.id = call.request.id,
       .text = std::move(outcome.text),
       .tool_calls = std::move(outcome.tool_calls),
       .finish = std::move(outcome.finish),
       .model = outcome.model.empty() ? settings_.shape.model : one_line(outcome.model, k_model_bytes_max),
       .failure = std::move(outcome.failure),
       .message = std::move(outcome.message),
       .cost = call.cost,
       .latency_s = seconds_of(clock_.steady() - call.submitted),
       .first_byte_s = call.first_byte_s,
       .attempts = call.attempts});
}

}  // namespace kernelites
