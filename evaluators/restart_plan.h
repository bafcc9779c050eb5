// SPDX-License-Identifier: Apache-2.0
// When a worker that ended is started again, and when waiting for one has no hope left: times without a clock.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <vector>

namespace kernelites {

/// How a worker ended.
enum class WorkerEnd {
  failed,    ///< it died, hung or talked nonsense
  unable,    ///< it says that it cannot work, or that its device has failed
  disturbed  ///< its device is well, but heat or somebody else's work is in the way: that passes by itself
};

struct RestartSettings {
  double backoff_s = 0.5;  ///< first pause before a restart; doubles
  double backoff_max_s = 30;
  int failures_max =
      5;  ///< failures in a row, without a reply in between, that bring a worker into quarantine
  double quarantine_s = 300;       ///< the first; doubles
  double quarantine_max_s = 3600;  ///< half of `outage_s` where that is less
  double disturbed_s = 60;         ///< pause of a worker whose device is disturbed; never doubles
  double outage_s = 1800;  ///< so long without any worker that can work, and the next failure ends it all
};

/// The state of workers 0 to `count` - 1. A device that is disturbed is no outage, nor is a quarantine: after
/// `outage_s` without a worker each one still gets the try that is planned for it.
class RestartPlan {
 public:
  using Time = std::chrono::steady_clock::time_point;

  RestartPlan(const RestartSettings& settings, std::size_t count) : settings_(settings), workers_(count) {}

  /// The pause before the next start, and what kind of pause it is.
  struct Rest {
    double seconds = 0;
    enum { backoff, quarantine, disturbance } kind = backoff;
    int in_a_row = 0;  ///< failures, or disturbances, without a reply in between; this one counts
  };

  /// It has been started.
  void started(std::size_t worker) { workers_[worker].restart_at.reset(); }
  /// It has greeted and is there. `is_busy`: with requests.
  void is_there(std::size_t worker, bool is_busy, Time now);
  /// It has answered a request. True if it had been kept away before.
  bool answered(std::size_t worker, Time now);
  /// It ended. Returns when it is started again; nothing if it never is: it says that it cannot work, and never could.
  std::optional<Rest> ended(std::size_t worker, WorkerEnd how, Time now);
  void give_up(std::size_t worker) { workers_[worker].is_given_up = true; }

  bool is_given_up(std::size_t worker) const { return workers_[worker].is_given_up; }
  /// REQUIRES: it is neither running nor given up.
  bool may_start(std::size_t worker, Time now) const;
  /// No worker is left that could work.
  bool is_lost() const;
  /// None could work for `outage_s`, and each has failed once more since.
  bool is_outage(Time now) const;

 private:
  struct Worker {
    std::optional<Time> restart_at, ended_at;
    int failures = 0;  // in a row
    int quarantines = 0, disturbances = 0;
    bool has_greeted = false;  // ever
    bool is_given_up = false;
  };

  RestartSettings settings_;
  std::vector<Worker> workers_;
  std::optional<Time> able_;  // when one was last able, or is said to be
};

}  // namespace kernelites
