// SPDX-License-Identifier: Apache-2.0
// Handing calls down the order.
#include "engine/llm/fallback_endpoint.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/llm/failure_policy.h"

namespace kernelites {
namespace {

void add(ModelReply& sum, const ModelReply& reply) {
  sum.usage.input_tokens += reply.usage.input_tokens;
  sum.usage.cached_input_tokens += reply.usage.cached_input_tokens;
  sum.usage.output_tokens += reply.usage.output_tokens;
  sum.usage.reasoning_tokens += reply.usage.reasoning_tokens;
  sum.usage.cache_write_tokens += reply.usage.cache_write_tokens;
  sum.usage.usd += reply.usage.usd;
  sum.usage.is_estimated |= reply.usage.is_estimated;
  sum.latency_s += reply.latency_s;
  sum.attempts += reply.attempts;
}

}  // namespace

FallbackEndpoint::FallbackEndpoint(std::vector<std::unique_ptr<Endpoint>> order) : order_(std::move(order)) {
  KERNELITES_ASSERT(!order_.empty());
}

std::string FallbackEndpoint::name() const {
  std::string names;
  for (const auto& endpoint : order_) names += (names.empty() ? "fallback:" : ",") + endpoint->name();
  return names;
}

void FallbackEndpoint::submit(ModelRequest request) {
  const std::string id = request.id;
  KERNELITES_ASSERT(!calls_.contains(id));
  Call& call = calls_[id];
  call.request = request;
  call.so_far.attempts = 0;
  order_.front()->submit(std::move(request));
}

void FallbackEndpoint::cancel(const std::string& id) {
  const auto found = calls_.find(id);
  if (found != calls_.end()) order_[found->second.asked]->cancel(id);
}

void FallbackEndpoint::wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) {
  order_.front()->wait(others, std::min(timeout, due_in()));
}

std::chrono::milliseconds FallbackEndpoint::due_in() const {
  std::chrono::milliseconds due = done_.empty() ? std::chrono::hours(1) : std::chrono::milliseconds(0);
  for (const auto& endpoint : order_) due = std::min(due, endpoint->due_in());
  return due;
}

void FallbackEndpoint::pump() {
  for (std::size_t i = 0; i < order_.size(); ++i) {
    order_[i]->pump();
    while (std::optional<ModelReply> reply = order_[i]->take()) {
      const auto found = calls_.find(reply->id);
      KERNELITES_ASSERT(found != calls_.end());
      Call& call = found->second;
      add(call.so_far, *reply);
      if (hand_on(call, *reply)) continue;
      reply->usage = call.so_far.usage;
      reply->latency_s = call.so_far.latency_s;
      reply->attempts = call.so_far.attempts;
      if (!reply->failure.empty() && !call.failures.empty())
        reply->message = fmt::format("{}; before: {}", reply->message, call.failures);
      done_.push_back(std::move(*reply));
      calls_.erase(found);
    }
  }
}

std::optional<ModelReply> FallbackEndpoint::take() {
  if (done_.empty()) return std::nullopt;
  ModelReply reply = std::move(done_.front());
  done_.pop_front();
  return reply;
}

bool FallbackEndpoint::is_waiting_outside() const {
  return done_.empty() && !calls_.empty() &&
         std::all_of(calls_.begin(), calls_.end(),
                     [this](const auto& entry) { return order_[entry.second.asked]->is_waiting_outside(); });
}

double FallbackEndpoint::usd_max(const ModelRequest& request) const {
  double most = 0;
  for (const auto& endpoint : order_) most = std::max(most, endpoint->usd_max(request));
  return most;
}

bool FallbackEndpoint::hand_on(Call& call, const ModelReply& reply) {
  if (!failure_policy(reply.failure).falls_back || call.asked + 1 == order_.size()) return false;
  ModelRequest request = call.request;
  if (request.usd_limit > 0) {
    const double left = request.usd_limit - call.so_far.usage.usd;
    if (order_[call.asked + 1]->usd_max(request) > left) return false;
    request.usd_limit = left;
  }
  call.failures += fmt::format("{}{}: {}", call.failures.empty() ? "" : "; ", order_[call.asked]->name(),
                               reply.message.empty() ? reply.failure : reply.message);
  order_[++call.asked]->submit(std::move(request));
  return true;
}

}  // namespace kernelites
