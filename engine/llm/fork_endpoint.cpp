// SPDX-License-Identifier: Apache-2.0
// Recording first, the other endpoint for the rest.
#include "engine/llm/fork_endpoint.h"

#include <algorithm>

namespace kernelites {

ForkEndpoint::ForkEndpoint(std::vector<RecordedCall> calls, std::unique_ptr<Endpoint> other)
    : same_(calls, ReplayMatch::digest), in_turn_(calls, ReplayMatch::cycle), other_(std::move(other)) {
  for (const RecordedCall& call : calls) digests_.push_back(call.digest);
  std::sort(digests_.begin(), digests_.end());
}

bool ForkEndpoint::is_recorded(const ModelRequest& request) const {
  return std::binary_search(digests_.begin(), digests_.end(), prompt_digest(request));
}

void ForkEndpoint::submit(ModelRequest request) {
  const bool has_same = is_recorded(request);
  if (!has_same && other_) {
    other_->submit(std::move(request));
    return;
  }
  (has_same ? same_ : in_turn_).submit(std::move(request));
  ++ready_;
}

void ForkEndpoint::cancel(const std::string& id) {
  if (other_) other_->cancel(id);
}

void ForkEndpoint::wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) {
  if (ready_ > 0) timeout = std::chrono::milliseconds(0);
  if (other_)
    other_->wait(others, timeout);
  else
    same_.wait(others, timeout);
}

std::chrono::milliseconds ForkEndpoint::due_in() const {
  if (ready_ > 0) return std::chrono::milliseconds(0);
  return other_ ? other_->due_in() : same_.due_in();
}

void ForkEndpoint::pump() {
  if (other_) other_->pump();
}

std::optional<ModelReply> ForkEndpoint::take() {
  for (ReplayEndpoint* recording : {&same_, &in_turn_})
    if (auto reply = recording->take()) {
      --ready_;
      reply->cost.usd = reply->cost.most.usd = 0;  // it was paid by the run that recorded it
      return reply;
    }
  return other_ ? other_->take() : std::nullopt;
}

CostBound ForkEndpoint::cost_max(const ModelRequest& request) const {
  return other_ && !is_recorded(request) ? other_->cost_max(request) : Endpoint::cost_max(request);
}

bool ForkEndpoint::keeps_calls() const { return !other_ || other_->keeps_calls(); }

void ForkEndpoint::end_conversation(std::uint64_t ordinal) {
  if (other_) other_->end_conversation(ordinal);
}

}  // namespace kernelites
