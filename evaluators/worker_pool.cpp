// SPDX-License-Identifier: Apache-2.0
// The evaluator that starts workers: groups of a launch prefix and a command line, JSON lines over pipes.
#include "evaluators/worker_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"

namespace kernelites {
namespace {

constexpr int k_losses_max = 3, k_returns_max = 20;
constexpr std::chrono::seconds k_leave_wait{10};
constexpr std::size_t k_incidents_max = 1000;  // that nobody has taken
constexpr std::string_view k_worker_number = "{worker}";
constexpr std::chrono::milliseconds k_greeting_wait{100};

std::chrono::steady_clock::duration seconds(double s) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(s));
}

std::vector<std::string> numbered(std::vector<std::string> command, std::size_t number) {
  for (std::string& word : command)
    for (std::size_t at = 0; (at = word.find(k_worker_number, at)) != std::string::npos;)
      word.replace(at, k_worker_number.size(), std::to_string(number));
  return command;
}

double doubled(double first, int times, double most) { return std::min(first * std::pow(2.0, times), most); }

/// What must be equal for times and verdicts to stand in one archive.
std::string kind_of(const Provenance& provenance) {
  return fmt::format("device \"{}\", harness {}, {}", provenance.device.kind, provenance.harness_version,
                     provenance.toolkit);
}

}  // namespace

WorkerPool::WorkerPool(WorkerPoolOptions options) : options_(std::move(options)) {
  for (const WorkerGroup& group : options_.groups)
    for (std::size_t i = 0; i < group.count; ++i) {
      Slot slot;
      slot.command = numbered(group.command, i);
      slot.name = fmt::format("worker {}{}", slots_.size() + 1,
                              group.launcher.empty() ? "" : " (" + group.launcher + ")");
      slot.is_launched = !group.launcher.empty();
      slots_.push_back(std::move(slot));
    }
  KERNELITES_ASSERT(!slots_.empty());
  for (Slot& slot : slots_) start(slot, std::chrono::steady_clock::now());
  // Bounded: every connection has a greeting deadline, and pump throws when all have failed too often.
  while (!has_provenance_) {
    std::vector<pollfd> descriptors = poll_descriptors();
    if (options_.stop_descriptor >= 0) descriptors.push_back({options_.stop_descriptor, POLLIN, 0});
    poll(descriptors.data(), descriptors.size(), static_cast<int>(k_greeting_wait.count()));
    if (options_.stop_descriptor >= 0 && descriptors.back().revents != 0)
      throw Error("stopped before a worker had greeted");
    pump(std::chrono::steady_clock::now());
  }
}

WorkerPool::~WorkerPool() {
  const Time start = std::chrono::steady_clock::now();
  for (Slot& slot : slots_)
    if (slot.connection) end(slot, start);
  for (Slot& slot : slots_)
    while (slot.leaving && !slot.leaving->wait_for_end(k_greeting_wait) &&
           std::chrono::steady_clock::now() < slot.leaving_until) {
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
  check_able(now);
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
  slot.connection =
      std::make_unique<WorkerConnection>(slot.command, options_.error_log, now, options_.greeting_deadline_s,
                                         options_.grace_s, slot.is_launched);
}

void WorkerPool::end(Slot& slot, Time now) {
  slot.connection->leave();
  slot.leaving = slot.connection->take_leaving();
  slot.leaving_until = now + k_leave_wait;
  slot.connection.reset();
}

void WorkerPool::pump_slot(Slot& slot, Time now) {
  if (slot.leaving && !slot.leaving->has_ended() && now < slot.leaving_until) return;
  slot.leaving.reset();
  if (slot.is_given_up) return;
  if (!slot.connection) {
    if (now < slot.restart_at) return;
    start(slot, now);
  }
  slot.connection->pump(now);
  take_replies(slot);
  if (slot.connection->is_ready()) {
    slot.has_greeted = true;
    last_able_ = now;
    check_same_kind(slot, now);
  }
  if (slot.connection && !slot.connection->failure().empty()) on_failure(slot, now);
}

void WorkerPool::take_replies(Slot& slot) {
  while (std::optional<Reply> reply = slot.connection->take()) {
    if (slot.quarantines > 0) report(slot, "works again");
    slot.failures = slot.quarantines = 0;
    tries_.erase(reply->id);
    replies_.push_back(std::move(*reply));
  }
  if (slot.connection->load() == 0) slot.is_alone_with_one = false;
}

/// Times of different devices must never meet in one grid.
void WorkerPool::check_same_kind(Slot& slot, Time now) {
  const Provenance& said = slot.connection->provenance();
  if (!has_provenance_) {
    provenance_ = said;
    has_provenance_ = true;
    return;
  }
  if (kind_of(said) == kind_of(provenance_)) return;
  last_failure_ = fmt::format("has {}; the run has {}", kind_of(said), kind_of(provenance_));
  report(slot, last_failure_ + ": it is not used");
  slot.is_given_up = true;
  take_back_requests(slot);
  end(slot, now);
}

void WorkerPool::on_failure(Slot& slot, Time now) {
  last_failure_ = slot.connection->failure();
  take_back_requests(slot);
  const bool is_hopeless = slot.connection->is_hopeless() || slot.connection->is_device_unfit();
  end(slot, now);
  plan_restart(slot, now, is_hopeless);
}

void WorkerPool::take_back_requests(Slot& slot) {
  std::vector<Request> lost = slot.connection->unanswered();
  std::reverse(lost.begin(), lost.end());  // pushed to the front one by one: the oldest ends up first
  slot.is_alone_with_one = false;
  for (Request& request : lost) {
    Tries tries = tries_[request.id];
    tries_.erase(request.id);
    ++(slot.connection->is_device_unfit() ? tries.returns : tries.losses);
    if (tries.losses < k_losses_max && tries.returns < k_returns_max) {
      queue_.push_front({std::move(request), tries, static_cast<std::size_t>(&slot - slots_.data())});
      continue;
    }
    Reply reply;
    reply.id = request.id;
    reply.error = tries.losses >= k_losses_max
                      ? fmt::format("three workers were lost on this request; the last: {}", last_failure_)
                      : last_failure_;
    reply.provenance = provenance_;
    replies_.push_back(std::move(reply));
  }
}

void WorkerPool::plan_restart(Slot& slot, Time now, bool is_hopeless) {
  // What a worker says of its machine can change while a run lasts (a device that vanished); before, it is the answer.
  if (is_hopeless && !slot.has_greeted) {
    report(slot, last_failure_ + ": it is given up");
    slot.is_given_up = true;
    return;
  }
  ++slot.failures;
  double pause_s = doubled(options_.backoff_s, slot.failures - 1, options_.backoff_max_s);
  if (slot.failures < options_.failures_max && !is_hopeless) {
    report(slot, fmt::format("{}; it is started again in {:g} s", last_failure_, pause_s));
  } else {
    pause_s = doubled(options_.quarantine_s, slot.quarantines++, options_.quarantine_max_s);
    report(slot, fmt::format("{}; after {} failures in a row it is quarantined for {:g} s", last_failure_,
                             slot.failures, pause_s));
  }
  slot.restart_at = now + seconds(pause_s);
}

void WorkerPool::check_able(Time now) {
  const auto is_out = [&](const Slot& slot) {
    return slot.is_given_up || (!has_provenance_ && slot.quarantines > 0);
  };
  const bool is_lost = std::all_of(slots_.begin(), slots_.end(), is_out);
  const bool is_outage = has_provenance_ && now - last_able_ > seconds(options_.outage_s);
  if (!is_lost && !is_outage) return;
  throw Error(fmt::format(
      "no worker can work{}: {} (command: {}{}); `kernelites doctor` says what is missing",
      is_lost ? "" : fmt::format(" for {:g} s", options_.outage_s), last_failure_, slots_.front().command[0],
      options_.error_log == "/dev/null" ? "" : "; its messages: " + options_.error_log.string()));
}

void WorkerPool::assign(Time now) {
  std::vector<Slot*> kept_free;
  for (std::size_t at = 0; at < queue_.size();) {
    Slot* const slot = place_for(queue_[at], kept_free);
    if (slot == nullptr) {
      if (queue_[at].tries.losses == 0) return;  // those behind it have lost no worker either
      ++at;
      continue;
    }
    const Queued next = std::move(queue_[at]);
    queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(at));
    tries_[next.request.id] = next.tries;
    slot->is_alone_with_one = next.tries.losses > 0;
    slot->connection->submit(next.request, now);
  }
}

/// The least busy worker that may take `next`; null if there is none now. A request that lost a worker gets one for
/// itself, so that it cannot take others down with it and the next loss tells who was to blame: the least busy one is
/// kept free for it until it is idle.
WorkerPool::Slot* WorkerPool::place_for(const Queued& next, std::vector<Slot*>& kept_free) {
  const std::size_t most = next.tries.losses > 0 ? 1 : options_.requests_per_worker;
  Slot* best = nullptr;
  Slot* least = nullptr;
  const auto is_better = [&](const Slot& one, const Slot* other) {
    if (other == nullptr) return true;
    const auto rank = [&](const Slot& slot) {
      return std::pair(slot.connection->load(),
                       static_cast<std::size_t>(&slot - slots_.data()) == next.lost_by);
    };
    return rank(one) < rank(*other);
  };
  for (Slot& slot : slots_) {
    if (!slot.connection || !slot.connection->is_ready() || slot.is_alone_with_one) continue;
    if (std::find(kept_free.begin(), kept_free.end(), &slot) != kept_free.end()) continue;
    if (is_better(slot, least)) least = &slot;
    if (slot.connection->load() < most && is_better(slot, best)) best = &slot;
  }
  if (best == nullptr && next.tries.losses > 0 && least != nullptr) kept_free.push_back(least);
  return best;
}

void WorkerPool::report(const Slot& slot, const std::string& what) {
  if (incidents_.size() < k_incidents_max) incidents_.push_back(slot.name + ": " + what);
}

}  // namespace kernelites
