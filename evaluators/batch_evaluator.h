// SPDX-License-Identifier: Apache-2.0
// The evaluator without a live connection: requests go into a file, replies come out of another, hours later.
//
// `<folder>/<n>.in.jsonl` holds requests and `<folder>/<n>.out.jsonl` the replies that `kernelites-worker
// --batch IN OUT` appends; both have the lines of the live protocol (OUT begins with the worker's greeting).
// A torn last line of OUT is ignored: the worker writes it again when it goes on. A request whose id stands
// in an earlier IN file is not written again; it waits for its reply there.
#pragma once

#include <deque>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "evaluators/evaluator.h"

namespace kernelites {

class BatchEvaluator : public Evaluator {
 public:
  /// Reads the batches that are in `folder`, which is made if absent. `device` is what requests will be for;
  /// its facts are unknown until the first replies are there. Throws Error if a file cannot be read, or a
  /// whole line is neither a greeting nor a reply.
  BatchEvaluator(std::filesystem::path folder, Provenance until_known);

  const Provenance& provenance() const override { return provenance_; }
  std::size_t capacity() const override { return k_requests_max; }
  void submit(const Request& request) override;
  std::vector<pollfd> poll_descriptors() override { return {}; }
  void pump(std::chrono::steady_clock::time_point) override {}
  std::optional<Reply> take() override;
  bool is_waiting_for_batch() const override { return replies_.empty() && !waiting_.empty(); }

  /// Writes the requests that no earlier batch holds as the next one. True if there were any.
  bool write();
  /// The batches that lack replies to requests that were submitted: (IN, OUT).
  std::vector<std::pair<std::filesystem::path, std::filesystem::path>> unanswered() const;

  /// Requests in one batch.
  static constexpr std::size_t k_requests_max = 1024;

 private:
  void read_batch(int number);
  std::filesystem::path in_file(int number) const;
  std::filesystem::path out_file(int number) const;

  std::filesystem::path folder_;
  Provenance provenance_;
  int last_batch_ = 0;
  std::map<std::string, int> batch_of_;    // request id -> batch that holds it
  std::map<std::string, Reply> answered_;  // read, not yet asked for
  std::set<std::string> waiting_;          // submitted, without a reply
  std::vector<Request> collected_;         // submitted, in no batch yet
  std::deque<Reply> replies_;
};

}  // namespace kernelites
