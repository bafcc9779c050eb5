// SPDX-License-Identifier: Apache-2.0
// Finding the recorded call of a request.
#include "engine/llm/replay_endpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "engine/llm/poll_wait.h"

namespace kernelites {

ReplayEndpoint::ReplayEndpoint(std::vector<RecordedCall> calls, ReplayMatch match)
    : calls_(std::move(calls)), match_(match) {
  std::stable_sort(calls_.begin(), calls_.end(), [](const RecordedCall& a, const RecordedCall& b) {
    return std::tie(a.ordinal, a.reply.id) < std::tie(b.ordinal, b.reply.id);
  });
  for (std::size_t i = 0; i < calls_.size(); ++i) by_digest_.emplace(calls_[i].digest, i);
}

void ReplayEndpoint::submit(ModelRequest request) {
  ModelReply reply;
  if (const RecordedCall* call = find(request)) {
    reply = call->reply;
  } else {
    reply.model = "recorded";
    reply.failure = "no_recorded_reply";
    reply.message = fmt::format("none of the {} recorded calls answers call {}", calls_.size(), request.id);
  }
  reply.id = request.id;
  done_.push_back(std::move(reply));
}

void ReplayEndpoint::wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) {
  poll_wait(others, done_.empty() ? timeout : std::chrono::milliseconds(0));
}

std::optional<ModelReply> ReplayEndpoint::take() {
  if (done_.empty()) return std::nullopt;
  ModelReply reply = std::move(done_.front());
  done_.pop_front();
  return reply;
}

const RecordedCall* ReplayEndpoint::find(const ModelRequest& request) const {
  if (calls_.empty()) return nullptr;
  if (match_ == ReplayMatch::cycle) return &calls_[request.ordinal % calls_.size()];
  std::vector<const RecordedCall*> found;
  if (match_ == ReplayMatch::digest) {
    const auto [first, last] = by_digest_.equal_range(prompt_digest(request));
    for (auto it = first; it != last; ++it) found.push_back(&calls_[it->second]);
  } else {
    for (const RecordedCall& call : calls_)
      if (call.ordinal == request.ordinal) found.push_back(&call);
  }
  for (const RecordedCall* call : found)
    if (call->reply.id == request.id) return call;
  if (found.empty()) return nullptr;
  return match_ == ReplayMatch::digest ? found[request.ordinal % found.size()] : found.front();
}

}  // namespace kernelites
