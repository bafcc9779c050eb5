// SPDX-License-Identifier: Apache-2.0
// A bounded queue of lines and the threads that empty it.
#include "evaluators/worker/pipeline/request_jobs.h"

#include <utility>

namespace kernelites::worker {
namespace {

/// Requests waiting for a free job.
constexpr std::size_t k_queue_max = 4096;

}  // namespace

RequestJobs::RequestJobs(int count, Handle handle, Deliver deliver)
    : handle_(std::move(handle)), deliver_(std::move(deliver)) {
  for (int i = 0; i < count; ++i) threads_.emplace_back([this] { work(); });
}

bool RequestJobs::add(std::string line) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return is_stopped_ || queue_.size() < k_queue_max; });
  if (is_stopped_) return false;
  queue_.push_back(std::move(line));
  changed_.notify_all();
  return true;
}

void RequestJobs::stop() {
  const std::lock_guard lock(mutex_);
  is_stopped_ = true;
  queue_.clear();
  changed_.notify_all();
}

void RequestJobs::finish() {
  {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void RequestJobs::work() {
  for (;;) {
    std::string line;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return is_closed_ || !queue_.empty(); });
      if (queue_.empty()) return;
      line = std::move(queue_.front());
      queue_.pop_front();
      changed_.notify_all();
    }
    deliver(handle_(line));
  }
}

/// A reply that cannot be written ends the work: nobody is listening, or the disk is full.
void RequestJobs::deliver(const Reply& reply) {
  const std::lock_guard lock(deliver_mutex_);
  if (!trouble_.empty()) return;
  try {
    deliver_(reply);
  } catch (const std::exception& error) {
    trouble_ = error.what();
    stop();
  }
}

}  // namespace kernelites::worker
