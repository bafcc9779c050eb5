// SPDX-License-Identifier: Apache-2.0
// A model that answers by the request's id: kernels of many cells and speeds, failures and nonsense now and then.
#pragma once

#include <fmt/format.h>
#include <poll.h>

#include <deque>
#include <functional>

#include "engine/core/rng.h"
#include "engine/llm/endpoint.h"

namespace kernelites {

/// The same id gives the same text.
inline std::string fake_answer(const std::string& id) {
  Rng rng = Rng::keyed(11, 0, id);
  const char* movement[] = {"direct", "shared", "cp_async", "tma"};
  const char* split[] = {"tile", "split_kv", "persistent", "specialised"};
  const std::uint64_t kind = rng.below(10);
  if (kind == 0) return "I am not sure what to change.";
  return fmt::format(
      "SUMMARY: attempt {}\n```cuda\n// cell: {} fma {}\n// us: {}\n{}// tune: BN = 32 | 64 | "
      "128\n__global__ void k() {{}}\n```\n",
      id, movement[rng.below(4)], split[rng.below(4)], 20 + rng.below(100),
      kind == 1 ? "// fails: compile\n" : "");
}

/// Answers at `pump`, one call at a time, in an order drawn from `order_seed` (0: as submitted).
class FakeModel : public Endpoint {
 public:
  explicit FakeModel(std::uint64_t order_seed = 0) : order_(order_seed), is_shuffled_(order_seed != 0) {}

  std::string name() const override { return called; }
  std::size_t capacity() const override { return 16; }
  void submit(ModelRequest request) override {
    ++calls;
    queue_.push_back(std::move(request));
  }
  void cancel(const std::string&) override {}
  void wait(std::vector<pollfd>& others, std::chrono::milliseconds) override {
    poll(others.data(), others.size(), 0);
  }
  void pump() override {
    if (queue_.empty() || is_silent) return;
    const std::size_t at = is_shuffled_ ? order_.below(queue_.size()) : 0;
    ModelReply reply;
    reply.id = queue_[at].id;
    reply.text = always.empty() ? fake_answer(reply.id) : always;
    reply.model = "fake-1";
    reply.cost = {.input_tokens = 1000, .output_tokens = 500, .usd = usd_per_call};
    if (script) reply = script(queue_[at]);
    reply.id = queue_[at].id;
    done_.push_back(std::move(reply));
    queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  std::optional<ModelReply> take() override {
    if (done_.empty()) return std::nullopt;
    ModelReply reply = std::move(done_.front());
    done_.pop_front();
    return reply;
  }
  bool is_waiting_outside() const override { return is_silent && done_.empty() && !queue_.empty(); }
  CostBound cost_max(const ModelRequest& request) const override {
    return {.tokens = Endpoint::cost_max(request).tokens, .usd = usd_per_call};
  }
  bool keeps_calls() const override { return is_kept; }
  void end_conversation(std::uint64_t ordinal) override { ended.push_back(ordinal); }

  std::string called = "fake";
  int calls = 0;
  double usd_per_call = 0.01;
  bool is_kept = false;              ///< like a spool: a call that is made again costs nothing more
  std::vector<std::uint64_t> ended;  ///< variations whose conversation is over
  bool is_silent = false;            ///< like a spool that nobody answers
  std::string always;                ///< the answer to everything, if not empty
  std::function<ModelReply(const ModelRequest&)> script;  ///< the whole reply, if set

 private:
  Rng order_;
  bool is_shuffled_;
  std::deque<ModelRequest> queue_;
  std::deque<ModelReply> done_;
};

}  // namespace kernelites
