// SPDX-License-Identifier: Apache-2.0
// Recorded replies instead of a model: golden runs, the embedded default, "same run, other policy".
//
// What answers a request depends only on the request, never on how many came before: a resumed run gets the
// same answers as one that was never stopped.
#pragma once

#include <deque>
#include <map>

#include "engine/llm/endpoint.h"
#include "engine/llm/record.h"

namespace kernelites {

/// How a request finds its recorded call.
enum class ReplayMatch {
  digest,   ///< same prompt; among several of one prompt the same id, else the one at `ordinal` modulo their
            ///< number
  ordinal,  ///< same id, else the first of the same ordinal, whatever the prompt
  cycle     ///< the call at `ordinal` modulo the number of calls: every request is answered
};

class ReplayEndpoint : public Endpoint {
 public:
  /// Answers from `calls`; a request that finds none fails with "no_recorded_reply".
  ReplayEndpoint(std::vector<RecordedCall> calls, ReplayMatch match);

  std::string name() const override { return "replay"; }
  std::size_t capacity() const override { return 64; }
  void submit(ModelRequest request) override;
  /// A submitted request is already answered, so that there is nothing to cancel.
  void cancel(const std::string&) override {}
  void wait(std::vector<pollfd>& others, std::chrono::milliseconds timeout) override;
  void pump() override {}
  std::optional<ModelReply> take() override;
  bool keeps_calls() const override { return true; }

 private:
  const RecordedCall* find(const ModelRequest& request) const;

  std::vector<RecordedCall> calls_;  ///< by ordinal, then id
  ReplayMatch match_;
  std::multimap<std::string, std::size_t> by_digest_;
  std::deque<ModelReply> done_;
};

}  // namespace kernelites
