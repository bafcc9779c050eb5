// SPDX-License-Identifier: Apache-2.0
// "Same replies, other policy": a recording answers where the prompt is the same, another endpoint everywhere else.
#pragma once

#include <memory>

#include "engine/llm/replay_endpoint.h"

namespace kernelites {

class ForkEndpoint : public Endpoint {
 public:
  /// `other` null: a prompt that the recording does not have gets one of its replies by its ordinal, in turn.
  ForkEndpoint(std::vector<RecordedCall> calls, std::unique_ptr<Endpoint> other);

  std::string name() const override { return other_ ? other_->name() : "replay"; }
  std::size_t capacity() const override { return other_ ? other_->capacity() : same_.capacity(); }
  void submit(ModelRequest request) override;
  void cancel(const std::string& id) override;
  void wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) override;
  std::chrono::milliseconds due_in() const override;
  void pump() override;
  std::optional<ModelReply> take() override;
  bool is_waiting_outside() const override { return other_ && other_->is_waiting_outside(); }
  /// A recorded reply costs nothing.
  CostBound cost_max(const ModelRequest& request) const override;
  bool keeps_calls() const override;
  void end_conversation(std::uint64_t ordinal) override;

 private:
  bool is_recorded(const ModelRequest& request) const;

  ReplayEndpoint same_;
  ReplayEndpoint in_turn_;
  std::vector<std::string> digests_;  // sorted
  std::unique_ptr<Endpoint> other_;
  std::size_t ready_ = 0;  // replies of a recording that nobody took yet
};

}  // namespace kernelites
