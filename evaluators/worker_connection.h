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

namespace kernelites {

/// Fails for good when anything goes wrong: `failure` then says what, `unanswered` what was lost. The pool
/// decides whether another takes its place.
class WorkerConnection {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Starts the process. A process that cannot be started is a failure, not an exception.
  WorkerConnection(const std::vector<std::string>& command, const std::filesystem::path& error_log, Time now,
                   double greeting_deadline_s, double grace_s);

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
  /// True if starting the same command again cannot help: another protocol version, or it said why it cannot
  /// work.
  bool is_hopeless() const { return is_hopeless_; }
  std::size_t load() const { return under_way_.size(); }
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
  void fail(std::string why, bool is_hopeless = false);

  std::unique_ptr<ChildProcess> process_;
  LineBuffer lines_{k_line_bytes_max};
  std::string outgoing_;
  std::optional<Greeting> greeting_;
  Time greeting_deadline_;
  double grace_s_;
  std::vector<UnderWay> under_way_;
  std::deque<Reply> replies_;
  std::string failure_;
  bool is_hopeless_ = false;
};

}  // namespace kernelites
