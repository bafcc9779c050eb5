// SPDX-License-Identifier: Apache-2.0
// The newest facts of a run for several readers: read anew when the run has written and somebody waits for it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "archive/database.h"
#include "tools/report/report_page.h"

namespace kernelites {

/// One state of the run as the page takes it.
struct LiveState {
  std::int64_t revision = 0;         ///< grows with every change
  std::shared_ptr<const Json> data;  ///< shared by everybody who shows this state; never null
  std::string problem;               ///< not empty: the run could not be read, and `data` is older
};

/// After so long without a question nothing is read until the next one.
inline constexpr std::chrono::seconds k_idle_after{15};

class LiveFacts {
 public:
  /// Reads once. Throws ConfigError if there is no run.
  LiveFacts(std::string folder, PageOptions options, std::chrono::milliseconds poll);
  ~LiveFacts();
  LiveFacts(const LiveFacts&) = delete;

  /// As of the last look, which was less than a poll ago unless nobody had asked for long: then after a look.
  LiveState now();
  /// A state newer than `revision`, if one comes within `wait`. Empty: none came, or `stop` was called.
  std::optional<LiveState> newer(std::int64_t revision, std::chrono::milliseconds wait);
  bool is_stopped() const;
  void stop();

 private:
  void watch();
  bool is_wanted() const;
  /// What differs when the run or a person has written: the database's version, the time of steer.json.
  std::string stamp();
  /// False if the run could not be read: then the state says why.
  bool read();

  std::string folder_;
  PageOptions options_;
  std::chrono::milliseconds poll_;
  Database database_;  // for the stamp alone; of the watching thread
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  LiveState state_;
  std::chrono::steady_clock::time_point asked_;  // last, by anybody
  bool is_idle_ = false;                         // nobody asks: changes are not read
  bool is_stopped_ = false;
  std::string seen_;  // the stamp that was read last; of the watching thread
  std::thread watcher_;
};

}  // namespace kernelites
