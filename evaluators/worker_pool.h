// SPDX-License-Identifier: Apache-2.0
// The evaluator that starts workers: groups of a launch prefix and a command line, JSON lines over pipes.
//
// A worker that dies, hangs past a deadline or sends garbage is killed and started again after a pause that doubles.
// One that keeps failing is quarantined: left alone for minutes, then tried again (restart_plan.h). Its requests go to
// the front of the queue and are asked again, each alone on its worker and elsewhere if there is one; a request
// that loses a third worker is answered with `error`. A worker that says that its device has failed is quarantined at
// once; one whose device is only disturbed is back after a minute, as often as it takes.
#pragma once

#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "evaluators/evaluator.h"
#include "evaluators/request_placing.h"
#include "evaluators/restart_plan.h"
#include "evaluators/worker_connection.h"

namespace kernelites {

/// Workers that are started in one way.
struct WorkerGroup {
  /// Launch prefix words ("ssh", "host"), the worker, its arguments. "{worker}" in a word stands for the worker's
  /// number in its group, from 0: "CUDA_VISIBLE_DEVICES={worker}".
  std::vector<std::string> command;
  std::size_t count = 1;
  /// The prefix, in messages: "worker 3 (ssh host)". Empty: the worker is this machine's own process; else what is
  /// started here only stands for it, and is asked to end before it is killed.
  std::string launcher = {};
};

struct WorkerPoolOptions {
  std::vector<WorkerGroup> groups;
  std::size_t requests_per_worker = 2;  ///< CPU stages of one overlap device stages of another
  std::filesystem::path error_log;      ///< the workers' stderr is appended here
  double greeting_deadline_s = 60;      ///< from the start of a worker; a scheduler's queue counts
  double grace_s = 15;                  ///< on top of a request's own deadline, which the worker enforces
  RestartSettings restart = {};
  int returns_max = 20;  ///< so often a request may come back from unfit devices; then that is its answer
  /// What the workers' device must be, of a run that has results already; empty: the first to greet decides.
  std::string wanted_kind = {};
  int stop_descriptor = -1;  ///< becomes readable when the wait for the first greeting is to end; -1: never
};

class WorkerPool : public Evaluator {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Starts the workers and waits until one has greeted. Throws Error, with the worker's own words, if none
  /// can work.
  explicit WorkerPool(WorkerPoolOptions options);
  /// Launched workers are asked to end, and waited for.
  ~WorkerPool() override;

  const Provenance& provenance() const override { return provenance_; }
  std::size_t capacity() const override { return slots_.size() * options_.requests_per_worker; }
  void submit(const Request& request) override { queue_.push_back({.request = request}); }
  std::vector<pollfd> poll_descriptors() override;
  /// Throws Error when no worker is left that could work, or none could for `outage_s`.
  void pump(Time now) override;
  std::optional<Reply> take() override;

  /// What happened to workers since the last call: one sentence each, for events.
  std::vector<std::string> take_incidents();

 private:
  /// What a request has been through.
  struct Tries {
    int losses = 0;   ///< of workers
    int returns = 0;  ///< from devices that were unfit, which it may be to blame for
  };
  struct Queued {
    Request request;
    Tries tries = {};
    std::size_t back_from = WaitingRequest::k_nowhere;
  };
  struct Slot {
    std::vector<std::string> command;
    std::string name;
    bool is_launched = false;
    std::unique_ptr<WorkerConnection> connection;  // null while it waits for its restart or is given up
    std::unique_ptr<ChildProcess> leaving;         // asked to end; its place is not taken before it has
    Time leaving_until{};
    bool is_alone_with_one = false;  // with a request that lost a worker before: nothing is put beside it
  };

  static std::vector<Slot> slots_of(const std::vector<WorkerGroup>& groups);
  void start(Slot& slot, Time now);
  void end(Slot& slot, Time now);
  void pump_slot(Slot& slot, Time now);
  void check_kind(Slot& slot, Time now);
  void turn_away(Slot& slot, Time now);
  void take_replies(Slot& slot, Time now);
  void on_failure(Slot& slot, Time now);
  void take_back_requests(Slot& slot);
  void report_rest(const Slot& slot, const RestartPlan::Rest& rest);
  void check_able(Time now);
  void assign(Time now);
  void note_able(Time now);
  void report(const Slot& slot, const std::string& what);
  std::size_t number_of(const Slot& slot) const { return static_cast<std::size_t>(&slot - slots_.data()); }

  WorkerPoolOptions options_;
  Provenance provenance_;
  bool has_provenance_ = false;
  std::vector<Slot> slots_;
  RestartPlan plan_;
  std::deque<Queued> queue_;
  std::map<std::string, Tries> tries_;  // of requests under way, by id
  std::deque<Reply> replies_;
  std::vector<std::string> incidents_;
  std::string last_failure_;
  std::string last_failed_;  // the worker that it was, with its command
};

}  // namespace kernelites
