// SPDX-License-Identifier: Apache-2.0
// An evaluator without a compiler: it reads verdict, cell and time out of comments in the source.
//
//   // cell: cp_async mma split_kv      movement, compute, split (default: direct fma tile)
//   // us: 100                          time at every workload; tunables change it (see fake_time_us)
//   // fails: compile                   fails examine at that stage
//   // untimed: not_modelled            passes examine, and no duel that it is an arm of
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "engine/core/axes.h"
#include "engine/core/rng.h"
#include "evaluators/evaluator.h"

namespace kernelites {

inline std::string fake_word(const std::string& source, const std::string& key, const std::string& fallback) {
  const std::size_t at = source.find("// " + key + ": ");
  if (at == std::string::npos) return fallback;
  const std::size_t begin = at + key.size() + 5;
  return source.substr(begin, source.find('\n', begin) - begin);
}

/// Each tunable is best at 64: time grows with the distance on a log scale.
inline double fake_time_us(const Candidate& candidate) {
  double time = std::stod(fake_word(candidate.source, "us", "100"));
  for (const auto& [name, value] : candidate.tuning)
    time *= 1 + 0.1 * std::abs(std::log2(static_cast<double>(value) / 64));
  return time;
}

inline Reply fake_reply(const Request& request, const Provenance& provenance) {
  Reply reply;
  reply.id = request.id;
  reply.provenance = provenance;
  reply.worker_s = 0.5;
  reply.device_s = 0.25;
  if (request.examine) {
    const Candidate& candidate = request.examine->candidate;
    Examination examination;
    const std::string stage = fake_word(candidate.source, "fails", "");
    examination.verdict =
        stage.empty() ? Verdict::passed() : Verdict::failed(stage, "fake_failure", "it was told to fail");
    const std::string& last = request.examine->last_stage;
    if (!last.empty() && stage != last)
      examination.verdict = Verdict::failed(last, "stopped_as_asked", "as asked");
    std::istringstream cell(fake_word(candidate.source, "cell", "direct fma tile"));
    for (const Axis& axis : k_axes) cell >> examination.descriptors[std::string(axis.name)];
    examination.code_digest = candidate_id(candidate);
    reply.examination = examination;
    return reply;
  }
  Duel duel;
  duel.verdict = Verdict::passed();
  for (const DuelArm& arm : request.duel->arms) duel.arms.push_back(arm.label);
  for (const DuelArm& arm : request.duel->arms) {
    const std::string reason = fake_word(arm.candidate.source, "untimed", "");
    if (reason.empty()) continue;
    const bool is_own = arm.candidate == request.duel->arms[0].candidate;
    duel.verdict =
        Verdict::failed("time", is_own ? reason : "arm_unusable",
                        is_own ? "it was told to have no time" : "arm '" + arm.label + "' has no time");
    reply.duel = duel;
    return reply;
  }
  const double candidate_us = fake_time_us(request.duel->arms[0].candidate);
  for (const std::string& workload : request.duel->workloads) {
    for (std::size_t i = 0; i < request.duel->arms.size(); ++i) {
      const double us = fake_time_us(request.duel->arms[i].candidate);
      duel.timing[workload].push_back({us, us, us, request.duel->rounds, provenance.device.is_virtual});
      const double ratio = std::log(candidate_us / us);
      if (i > 0)
        duel.ratio[workload].push_back(
            {ratio, ratio - 0.001, ratio + 0.001, request.duel->confidence, request.duel->rounds});
    }
  }
  reply.duel = duel;
  return reply;
}

inline Provenance fake_provenance(bool is_virtual) {
  Provenance provenance;
  provenance.harness_version = k_harness_version;
  provenance.toolkit = "fake";
  provenance.device.kind = "fake";
  provenance.device.is_virtual = is_virtual;
  return provenance;
}

/// Answers at `pump`, at most `per_pump` requests, in an order drawn from `order_seed` (0: as submitted).
class FakeEvaluator : public Evaluator {
 public:
  explicit FakeEvaluator(bool is_virtual = true, std::uint64_t order_seed = 0, std::size_t per_pump = 2)
      : provenance_(fake_provenance(is_virtual)),
        order_(order_seed),
        is_shuffled_(order_seed != 0),
        per_pump_(per_pump) {}

  ~FakeEvaluator() override { close(ready_); }
  FakeEvaluator(const FakeEvaluator&) = delete;

  const Provenance& provenance() const override { return provenance_; }
  /// As another card of the kind: what was measured of it when it was opened.
  void measure_copy_rate(double gb_per_s) { provenance_.device.memory_gb_per_s = gb_per_s; }
  std::size_t capacity() const override { return 8; }
  void submit(const Request& request) override {
    requests.push_back(request);
    queue_.push_back(request);
  }
  /// While there is something to do, a descriptor that is always ready.
  std::vector<pollfd> poll_descriptors() override {
    if (queue_.empty()) return {};
    return {{ready_, POLLIN, 0}};
  }
  void pump(std::chrono::steady_clock::time_point) override {
    for (std::size_t i = 0; i < per_pump_ && !queue_.empty(); ++i) {
      const std::size_t at = is_shuffled_ ? order_.below(queue_.size()) : 0;
      Reply reply = answer ? answer(queue_[at], provenance_) : fake_reply(queue_[at], provenance_);
      if (is_null(queue_[at]) && nulls_off > 0) {
        --nulls_off;
        for (auto& [workload, ratios] : reply.duel->ratio) ratios = {{0.01, 0.009, 0.011, 0.999, 30}};
      }
      if (is_broken) reply = {.id = queue_[at].id, .error = "the device is gone"};
      replies_.push_back(std::move(reply));
      queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  std::optional<Reply> take() override {
    if (replies_.empty()) return std::nullopt;
    Reply reply = std::move(replies_.front());
    replies_.pop_front();
    return reply;
  }

  std::vector<Request> requests;                                   ///< everything ever submitted
  bool is_broken = false;                                          ///< every reply is an error
  std::function<Reply(const Request&, const Provenance&)> answer;  ///< instead of what comments say, if set
  int nulls_off = 0;  ///< so many kernels that duel themselves alone differ by 1 %

  static bool is_null(const Request& request) {
    return request.duel && request.duel->arms.size() == 2 &&
           request.duel->arms[0].candidate == request.duel->arms[1].candidate;
  }

 private:
  Provenance provenance_;
  int ready_ = eventfd(1, EFD_CLOEXEC);
  Rng order_;
  bool is_shuffled_;
  std::size_t per_pump_;
  std::deque<Request> queue_;
  std::deque<Reply> replies_;
};

}  // namespace kernelites
