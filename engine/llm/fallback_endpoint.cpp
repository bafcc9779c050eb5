// SPDX-License-Identifier: Apache-2.0
// Handing calls down the order.
#include "engine/llm/fallback_endpoint.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <set>

#include "engine/core/error.h"
#include "engine/llm/failure_policy.h"

namespace kernelites {
namespace {

constexpr double k_least_usd = 1e-12;
/// How often the others are looked at while one of several waits.
constexpr std::chrono::milliseconds k_look{50};

void add(ModelReply& sum, const ModelReply& reply) {
  sum.cost += reply.cost;
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
  // Who has calls waits; where several have, the others are looked at in between.
  std::set<std::size_t> asked;
  for (const auto& [id, call] : calls_) asked.insert(call.asked);
  if (asked.size() > 1) timeout = std::min(timeout, k_look);
  order_[asked.empty() ? 0 : *asked.begin()]->wait(others, std::min(timeout, due_in()));
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
      reply->cost = call.so_far.cost;
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

CostBound FallbackEndpoint::cost_max(const ModelRequest& request) const {
  CostBound most;
  for (const auto& endpoint : order_) {
    const CostBound one = endpoint->cost_max(request);
    most = {.tokens = std::max(most.tokens, one.tokens), .usd = std::max(most.usd, one.usd)};
  }
  return most;
}

bool FallbackEndpoint::keeps_calls() const {
  return std::all_of(order_.begin(), order_.end(),
                     [](const auto& endpoint) { return endpoint->keeps_calls(); });
}

void FallbackEndpoint::end_conversation(std::uint64_t ordinal) {
  for (const auto& endpoint : order_) endpoint->end_conversation(ordinal);
}

bool FallbackEndpoint::hand_on(Call& call, const ModelReply& reply) {
  if (!failure_policy(reply.failure).falls_back || call.asked + 1 == order_.size()) return false;
  ModelRequest request = call.request;
  const CostBound spent = most_of(call.so_far.cost);
  if (!fits(spent, order_[call.asked + 1]->cost_max(request), request.limit)) return false;
  // Room for the next one's worst case is left, so that neither becomes 0, which would be no limit.
  if (request.limit.tokens > 0) request.limit.tokens -= spent.tokens;
  if (request.limit.usd > 0) request.limit.usd = std::max(request.limit.usd - spent.usd, k_least_usd);
  call.failures += fmt::format("{}{}: {}", call.failures.empty() ? "" : "; ", order_[call.asked]->name(),
                               reply.message.empty() ? reply.failure : reply.message);
  order_[++call.asked]->submit(std::move(request));
  return true;
}

}  // namespace kernelites
