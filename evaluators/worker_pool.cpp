// SPDX-License-Identifier: Apache-2.0
// The evaluator that starts workers: a launch prefix and a command line, N processes, JSON lines over pipes.
#include "evaluators/worker_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"

namespace kernelites {
namespace {

constexpr int k_losses_max = 2;

std::chrono::steady_clock::duration seconds(double s) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(s));
}

}  // namespace

WorkerPool::WorkerPool(WorkerPoolOptions options) : options_(std::move(options)), slots_(options_.workers) {
  KERNELITES_ASSERT(options_.workers > 0);
  for (Slot& slot : slots_) start(slot, std::chrono::steady_clock::now());
  // Bounded: every connection has a greeting deadline, and pump throws when all have been given up.
  while (!has_provenance_) {
    std::vector<pollfd> descriptors = poll_descriptors();
    poll(descriptors.data(), descriptors.size(), 100);
    pump(std::chrono::steady_clock::now());
  }
}

std::vector<pollfd> WorkerPool::poll_descriptors() {
  std::vector<pollfd> descriptors;
  for (const Slot& slot : slots_)
    if (slot.connection) slot.connection->append_poll_descriptors(descriptors);
  return descriptors;
}

void WorkerPool::pump(Time now) {
  for (Slot& slot : slots_) pump_slot(slot, now);
  if (std::all_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.is_given_up; }))
    throw Error(fmt::format("no worker can work: {} (command: {}; its messages: {})", last_failure_,
                            options_.command[0], options_.error_log.string()));
  assign(now);
}

std::optional<Reply> WorkerPool::take() {
  if (replies_.empty()) return std::nullopt;
  Reply reply = std::move(replies_.front());
  replies_.pop_front();
  return reply;
}

std::vector<std::string> WorkerPool::take_incidents() { return std::exchange(incidents_, {}); }

void WorkerPool::start(Slot& slot, Time now) {
  slot.connection = std::make_unique<WorkerConnection>(options_.command, options_.error_log, now,
                                                       options_.greeting_deadline_s, options_.grace_s);
}

void WorkerPool::pump_slot(Slot& slot, Time now) {
  if (slot.is_given_up) return;
  if (!slot.connection) {
    if (now < slot.restart_at) return;
    start(slot, now);
  }
  slot.connection->pump(now);
  while (std::optional<Reply> reply = slot.connection->take()) {
    slot.failures = 0;
    losses_.erase(reply->id);
    replies_.push_back(std::move(*reply));
  }
  if (slot.connection->is_ready()) {
    const Provenance& said = slot.connection->provenance();
    if (!has_provenance_) {
      provenance_ = said;
      has_provenance_ = true;
    } else if (said.device.kind != provenance_.device.kind ||
               said.harness_version != provenance_.harness_version) {
      // Times of different devices must never meet in one grid.
      last_failure_ =
          fmt::format("a worker has device \"{}\" and harness {}, the others \"{}\" and {}", said.device.kind,
                      said.harness_version, provenance_.device.kind, provenance_.harness_version);
      incidents_.push_back(last_failure_);
      slot.is_given_up = true;
      slot.connection.reset();
      return;
    }
  }
  if (!slot.connection->failure().empty()) on_failure(slot, now);
}

void WorkerPool::on_failure(Slot& slot, Time now) {
  last_failure_ = slot.connection->failure();
  incidents_.push_back(last_failure_);
  std::vector<Request> lost = slot.connection->unanswered();
  std::reverse(lost.begin(), lost.end());  // pushed to the front one by one: the oldest ends up first
  for (Request& request : lost) {
    const int losses = losses_[request.id] + 1;
    losses_.erase(request.id);
    if (losses < k_losses_max) {
      queue_.push_front({std::move(request), losses});
    } else {
      Reply reply;
      reply.id = request.id;
      reply.error = fmt::format("two workers were lost on this request; the second: {}", last_failure_);
      reply.provenance = provenance_;
      replies_.push_back(std::move(reply));
    }
  }
  const bool is_hopeless = slot.connection->is_hopeless();
  slot.connection.reset();
  slot.is_given_up = is_hopeless || ++slot.failures >= options_.failures_max;
  const double pause_s = options_.backoff_s * std::pow(2.0, slot.failures - 1);
  slot.restart_at = now + seconds(std::min(pause_s, options_.backoff_max_s));
}

void WorkerPool::assign(Time now) {
  while (!queue_.empty()) {
    Slot* least = nullptr;
    for (Slot& slot : slots_) {
      if (!slot.connection || !slot.connection->is_ready()) continue;
      if (slot.connection->load() >= options_.requests_per_worker) continue;
      if (least == nullptr || slot.connection->load() < least->connection->load()) least = &slot;
    }
    if (least == nullptr) return;
    const Queued next = std::move(queue_.front());
    queue_.pop_front();
    losses_[next.request.id] = next.losses;
    least->connection->submit(next.request, now);
  }
}

}  // namespace kernelites
