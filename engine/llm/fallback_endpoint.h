// SPDX-License-Identifier: Apache-2.0
// Several endpoints in order: what one cannot answer, the next is asked.
//
// Which failures are handed on says failure_policy.h. The reply is the last endpoint's; its usage, attempts and latency
// are those of all that were asked, and a failure names each of them.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "engine/llm/endpoint.h"

namespace kernelites {

class FallbackEndpoint : public Endpoint {
 public:
  /// REQUIRES: at least one endpoint.
  explicit FallbackEndpoint(std::vector<std::unique_ptr<Endpoint>> order);

  /// "fallback:openai:a,anthropic:b"
  std::string name() const override;
  std::size_t capacity() const override { return order_.front()->capacity(); }
  void submit(ModelRequest request) override;
  void cancel(const std::string& id) override;
  void wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) override;
  std::chrono::milliseconds due_in() const override;
  void pump() override;
  std::optional<ModelReply> take() override;
  bool is_waiting_outside() const override;
  /// Of the dearest; a request's `limit` holds over all of them.
  CostBound cost_max(const ModelRequest& request) const override;
  bool keeps_calls() const override;
  void end_conversation(std::uint64_t ordinal) override;

 private:
  struct Call {
    ModelRequest request;
    std::size_t asked = 0;  ///< index of the endpoint that has it
    ModelReply so_far;      ///< sums over those that failed
    std::string failures;   ///< their words
  };

  /// True if the reply was handed on to the next endpoint.
  bool hand_on(Call& call, const ModelReply& reply);

  std::vector<std::unique_ptr<Endpoint>> order_;
  std::map<std::string, Call> calls_;
  std::deque<ModelReply> done_;
};

}  // namespace kernelites
