// SPDX-License-Identifier: Apache-2.0
// Request lines evaluated by several threads, their replies delivered one at a time.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "evaluators/protocol/protocol.h"

namespace kernelites::worker {

/// Runs requests on `count` threads; replies are handed to `deliver` one at a time.
class RequestJobs {
 public:
  using Handle = std::function<Reply(const std::string& line)>;
  using Deliver = std::function<void(const Reply&)>;

  /// `handle` is called by several threads and never throws; what `deliver` throws ends the work.
  RequestJobs(int count, Handle handle, Deliver deliver);
  ~RequestJobs() { finish(); }

  /// Queues a line, after a wait where the queue is full. False: the work was stopped and the line is dropped.
  bool add(std::string line);
  /// Drops what has not begun, and whatever comes. May be called by `deliver`.
  void stop();
  /// Finishes what is queued; nothing can be added afterwards.
  void finish();
  /// Why replies could not be delivered; empty: all were. REQUIRES: `finish` was called.
  const std::string& trouble() const { return trouble_; }

 private:
  void work();
  void deliver(const Reply& reply);

  Handle handle_;
  Deliver deliver_;
  std::mutex mutex_, deliver_mutex_;
  std::condition_variable changed_;
  std::deque<std::string> queue_;
  bool is_closed_ = false;
  bool is_stopped_ = false;
  std::string trouble_;
  std::vector<std::thread> threads_;
};

}  // namespace kernelites::worker
