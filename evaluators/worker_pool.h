// SPDX-License-Identifier: Apache-2.0
// The evaluator that starts workers: a launch prefix and a command line, N processes, JSON lines over pipes.
//
// A worker that dies, hangs past a deadline or sends garbage is killed and started again after a pause that
// doubles. Its requests go to the front of the queue once; a request that loses a second worker is answered
// with `error`.
#pragma once

#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "evaluators/evaluator.h"
#include "evaluators/worker_connection.h"

namespace kernelites {

struct WorkerPoolOptions {
  std::vector<std::string> command;  ///< launch prefix words ("ssh", "host"), the worker, its arguments
  std::size_t workers = 1;
  std::size_t requests_per_worker = 2;  ///< CPU stages of one overlap device stages of another
  std::filesystem::path error_log;      ///< the workers' stderr is appended here
  double greeting_deadline_s = 60;
  double grace_s = 15;     ///< on top of a request's own deadline, which the worker enforces
  double backoff_s = 0.5;  ///< first pause before a restart; doubles
  double backoff_max_s = 30;
  int failures_max = 5;  ///< failures in a row, without a reply in between, that end a worker for good
};

class WorkerPool : public Evaluator {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Starts the workers and waits until one has greeted. Throws Error, with the worker's own words, if none
  /// can work.
  explicit WorkerPool(WorkerPoolOptions options);

  const Provenance& provenance() const override { return provenance_; }
  std::size_t capacity() const override { return options_.workers * options_.requests_per_worker; }
  void submit(const Request& request) override { queue_.push_back({request, 0}); }
  std::vector<pollfd> poll_descriptors() override;
  /// Throws Error when no worker is left that could work.
  void pump(Time now) override;
  std::optional<Reply> take() override;

  /// What happened to workers since the last call: one sentence each, for events.
  std::vector<std::string> take_incidents();

 private:
  struct Queued {
    Request request;
    int losses = 0;
  };
  struct Slot {
    std::unique_ptr<WorkerConnection> connection;  // null while it waits for its restart or is given up
    Time restart_at{};
    int failures = 0;  // in a row
    bool is_given_up = false;
  };

  void start(Slot& slot, Time now);
  void pump_slot(Slot& slot, Time now);
  void on_failure(Slot& slot, Time now);
  void assign(Time now);

  WorkerPoolOptions options_;
  Provenance provenance_;
  bool has_provenance_ = false;
  std::vector<Slot> slots_;
  std::deque<Queued> queue_;
  std::map<std::string, int> losses_;  // of requests under way, by id
  std::deque<Reply> replies_;
  std::vector<std::string> incidents_;
  std::string last_failure_;
};

}  // namespace kernelites
