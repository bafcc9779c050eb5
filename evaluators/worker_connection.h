// SPDX-License-Identifier: Apache-2.0
// One worker process and what is under way on it: greeting, requests out, replies in, deadlines.
#pragma once

#include <poll.h>

#include <chrono>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evaluators/child_process.h"
#include "evaluators/line_buffer.h"
#include "evaluators/protocol/protocol.h"
#include "evaluators/restart_plan.h"

namespace kernelites {

/// Fails for good when anything goes wrong: `failure` then says what, `unanswered` what was lost. The pool
/// decides whether another takes its place.
class WorkerConnection {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Starts the process. A process that cannot be started is a failure, not an exception. `is_launched`: it stands for
  /// one elsewhere, and is asked to end (`take_leaving`) instead of killed.
  WorkerConnection(const std::vector<std::string>& command, const std::filesystem::path& error_log, Time now,
                   double greeting_deadline_s, double grace_s, bool is_launched = false);

  /// Moves bytes both ways and enforces deadlines.
  void pump(Time now);
  void append_poll_descriptors(std::vector<pollfd>& descriptors) const;

  /// REQUIRES: is_ready().
  void submit(const Request& request, Time now);
  std::optional<Reply> take();

  bool is_ready() const { return greeting_.has_value() && failure_.empty(); }
  /// REQUIRES: the greeting has come.
  const Provenance& provenance() const { return greeting_->provenance; }
  bool has_greeted() const { return greeting_.has_value(); }
  /// Empty while it works.
  const std::string& failure() const { return failure_; }
  /// REQUIRES: it failed. Unable: starting the same command again cannot help now (another protocol version, or it said
  /// why it cannot work).
  WorkerEnd how_it_ended() const { return end_; }
  /// True if it failed because its device did, or is disturbed.
  bool is_device_unfit() const { return is_device_unfit_; }
  /// False for a request that cannot have caused the failure: a device was disturbed before it was evaluated.
  bool may_blame(const Request& request) const {
    return end_ != WorkerEnd::disturbed || request.id == spoiled_id_;
  }
  std::size_t load() const { return under_way_.size(); }
  /// Ends it for good, as a failure does.
  void leave() {
    if (failure_.empty()) fail("it was told to end");
  }
  /// Of a launched one that failed: its process, which was asked to end. Null if there is none.
  std::unique_ptr<ChildProcess> take_leaving() { return std::move(leaving_); }
  /// Requests without a reply.
  std::vector<Request> unanswered() const;

 private:
  struct UnderWay {
    Request request;
    Time deadline;
  };

  void write_pending();
  void read_available();
  void on_line(const std::string& line);
  void on_greeting(const std::string& line);
  void fail(std::string why, WorkerEnd end = WorkerEnd::failed);

  std::unique_ptr<ChildProcess> process_;
  std::unique_ptr<ChildProcess> leaving_;
  LineBuffer lines_{k_line_bytes_max};
  std::string outgoing_;
  std::optional<Greeting> greeting_;
  Time greeting_deadline_;
  double grace_s_;
  bool is_launched_;
  std::vector<UnderWay> under_way_;
  std::deque<Reply> replies_;
  std::string failure_;
  WorkerEnd end_ = WorkerEnd::failed;
  bool is_device_unfit_ = false;
  std::string spoiled_id_;  // of the request whose evaluation was disturbed; empty: it had not begun
};

}  // namespace kernelites
