// SPDX-License-Identifier: Apache-2.0
// The evaluator that starts workers: groups of a launch prefix and a command line, JSON lines over pipes.
//
// A worker that dies, hangs past a deadline or sends garbage is killed and started again after a pause that doubles.
// One that keeps failing is quarantined: left alone for minutes, then tried again. Its requests go to the front of the
// queue and are asked again, each alone on its worker and elsewhere if there is an elsewhere; a request that loses a
// third worker is answered with `error`. A worker that says that its device is unfit is quarantined at once.
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
  double backoff_s = 0.5;               ///< first pause before a restart; doubles
  double backoff_max_s = 30;
  int failures_max =
      5;  ///< failures in a row, without a reply in between, that bring a worker into quarantine
  double quarantine_s = 300;  ///< the first; doubles
  double quarantine_max_s = 3600;
  double outage_s = 1800;    ///< so long without any worker that has greeted, and the run ends
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
  void submit(const Request& request) override { queue_.push_back({request, {}, k_nowhere}); }
  std::vector<pollfd> poll_descriptors() override;
  /// Throws Error when no worker is left that could work, or none could for `outage_s`.
  void pump(Time now) override;
  std::optional<Reply> take() override;

  /// What happened to workers since the last call: one sentence each, for events.
  std::vector<std::string> take_incidents();

 private:
  static constexpr std::size_t k_nowhere = static_cast<std::size_t>(-1);
  /// What a request has been through.
  struct Tries {
    int losses = 0;   ///< of workers
    int returns = 0;  ///< from devices that were unfit, which it is not to blame for
  };
  struct Queued {
    Request request;
    Tries tries;
    std::size_t lost_by = k_nowhere;  ///< slot that it is better not asked of again
  };
  struct Slot {
    std::vector<std::string> command;
    std::string name;
    bool is_launched = false;
    std::unique_ptr<WorkerConnection> connection;  // null while it waits for its restart or is given up
    std::unique_ptr<ChildProcess> leaving;         // asked to end; its place is not taken before it has
    Time leaving_until{};
    Time restart_at{};
    int failures = 0;  // in a row
    int quarantines = 0;
    bool is_alone_with_one = false;  // with a request that lost a worker before: nothing is put beside it
    bool has_greeted = false;        // ever
    bool is_given_up = false;
  };

  void start(Slot& slot, Time now);
  void end(Slot& slot, Time now);
  void pump_slot(Slot& slot, Time now);
  void check_same_kind(Slot& slot, Time now);
  void take_replies(Slot& slot);
  void on_failure(Slot& slot, Time now);
  void take_back_requests(Slot& slot);
  void plan_restart(Slot& slot, Time now, bool is_hopeless);
  void check_able(Time now);
  void assign(Time now);
  Slot* place_for(const Queued& next, std::vector<Slot*>& kept_free);
  void report(const Slot& slot, const std::string& what);

  WorkerPoolOptions options_;
  Provenance provenance_;
  bool has_provenance_ = false;
  Time last_able_{};  // when a worker was last there that had greeted
  std::vector<Slot> slots_;
  std::deque<Queued> queue_;
  std::map<std::string, Tries> tries_;  // of requests under way, by id
  std::deque<Reply> replies_;
  std::vector<std::string> incidents_;
  std::string last_failure_;
};

}  // namespace kernelites
