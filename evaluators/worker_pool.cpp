// SPDX-License-Identifier: Apache-2.0
// The evaluator that starts workers: groups of a launch prefix and a command line, JSON lines over pipes.
#include "evaluators/worker_pool.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"

namespace kernelites {
namespace {

constexpr int k_losses_max = 3;
constexpr std::chrono::seconds k_leave_wait{10};
constexpr std::size_t k_incidents_max = 1000;  // that nobody has taken
constexpr std::string_view k_worker_number = "{worker}";
constexpr std::chrono::milliseconds k_greeting_wait{100};

std::vector<std::string> numbered(std::vector<std::string> command, std::size_t number) {
  for (std::string& word : command)
    for (std::size_t at = 0; (at = word.find(k_worker_number, at)) != std::string::npos;)
      word.replace(at, k_worker_number.size(), std::to_string(number));
  return command;
}

/// What must be equal for times and verdicts to stand in one archive.
std::string kind_of(const Provenance& provenance) {
  return fmt::format("device \"{}\", harness {}, {}", provenance.device.kind, provenance.harness_version,
                     provenance.toolkit);
}

}  // namespace

WorkerPool::WorkerPool(WorkerPoolOptions options)
    : options_(std::move(options)),
      slots_(slots_of(options_.groups)),
      plan_(options_.restart, slots_.size()) {
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

std::vector<WorkerPool::Slot> WorkerPool::slots_of(const std::vector<WorkerGroup>& groups) {
  std::vector<Slot> slots;
  for (const WorkerGroup& group : groups)
    for (std::size_t i = 0; i < group.count; ++i) {
      Slot slot;
      slot.command = numbered(group.command, i);
      slot.name = fmt::format("worker {}{}", slots.size() + 1,
                              group.launcher.empty() ? "" : " (" + group.launcher + ")");
      slot.is_launched = !group.launcher.empty();
      slots.push_back(std::move(slot));
    }
  return slots;
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
  assign(now);
  note_able(now);
  check_able(now);
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
  plan_.started(number_of(slot));
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
  if (plan_.is_given_up(number_of(slot))) return;
  if (!slot.connection) {
    if (!plan_.may_start(number_of(slot), now)) return;
    start(slot, now);
  }
  slot.connection->pump(now);
  take_replies(slot, now);
  if (slot.connection->is_ready()) check_kind(slot, now);
  if (slot.connection && !slot.connection->failure().empty()) on_failure(slot, now);
}

void WorkerPool::take_replies(Slot& slot, Time now) {
  while (std::optional<Reply> reply = slot.connection->take()) {
    if (plan_.answered(number_of(slot), now)) report(slot, "works again");
    tries_.erase(reply->id);
    replies_.push_back(std::move(*reply));
  }
  if (slot.connection->load() == 0) slot.is_alone_with_one = false;
}

/// Times of different devices must never meet in one grid.
void WorkerPool::check_kind(Slot& slot, Time now) {
  const Provenance& said = slot.connection->provenance();
  if (has_provenance_) {
    if (kind_of(said) == kind_of(provenance_)) return;
    last_failure_ = fmt::format("has {}; the run has {}", kind_of(said), kind_of(provenance_));
    turn_away(slot, now);
  } else if (!options_.wanted_kind.empty() && said.device.kind != options_.wanted_kind) {
    last_failure_ =
        fmt::format("has device \"{}\"; the run's results are of device \"{}\", another needs a new run",
                    said.device.kind, options_.wanted_kind);
    turn_away(slot, now);
  } else {
    provenance_ = said;
    has_provenance_ = true;
    if (options_.groups.size() > 1)
      report(slot,
             fmt::format("was the first {}: the run has {}, others are turned away",
                         options_.wanted_kind.empty() ? "to greet" : "of the run's kind", kind_of(said)));
  }
}

void WorkerPool::turn_away(Slot& slot, Time now) {
  report(slot, last_failure_ + ": it is not used");
  last_failed_ = slot.name;
  plan_.give_up(number_of(slot));
  take_back_requests(slot);
  end(slot, now);
}

void WorkerPool::on_failure(Slot& slot, Time now) {
  last_failure_ = slot.connection->failure();
  last_failed_ = fmt::format("{}, command: {}", slot.name, slot.command[0]);
  take_back_requests(slot);
  const WorkerEnd how = slot.connection->how_it_ended();
  end(slot, now);
  if (const auto rest = plan_.ended(number_of(slot), how, now))
    report_rest(slot, *rest);
  else
    report(slot, last_failure_ + ": it is given up");
}

void WorkerPool::take_back_requests(Slot& slot) {
  std::vector<Request> lost = slot.connection->unanswered();
  std::reverse(lost.begin(), lost.end());  // pushed to the front one by one: the oldest ends up first
  slot.is_alone_with_one = false;
  for (Request& request : lost) {
    Tries tries = tries_[request.id];
    tries_.erase(request.id);
    if (slot.connection->may_blame(request))
      ++(slot.connection->is_device_unfit() ? tries.returns : tries.losses);
    if (tries.losses < k_losses_max && tries.returns < options_.returns_max) {
      queue_.push_front({std::move(request), tries, number_of(slot)});
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

void WorkerPool::report_rest(const Slot& slot, const RestartPlan::Rest& rest) {
  using Rest = RestartPlan::Rest;
  if (rest.kind == Rest::disturbance) {
    if (rest.in_a_row > 1) return;  // a night of them is one piece of news
    report(slot,
           fmt::format("{}; it is tried again every {:g} s until that is over", last_failure_, rest.seconds));
  } else if (rest.kind == Rest::backoff) {
    report(slot, fmt::format("{}; it is started again in {:g} s", last_failure_, rest.seconds));
  } else {
    const std::string count =
        rest.in_a_row > 1 ? fmt::format("after {} failures in a row ", rest.in_a_row) : "";
    report(slot, fmt::format("{}; {}it is quarantined for {:g} s", last_failure_, count, rest.seconds));
  }
}

void WorkerPool::note_able(Time now) {
  for (const Slot& slot : slots_)
    if (slot.connection && slot.connection->is_ready())
      plan_.is_there(number_of(slot), slot.connection->load() > 0, now);
}

void WorkerPool::check_able(Time now) {
  const bool is_lost = plan_.is_lost();
  if (!is_lost && !plan_.is_outage(now)) return;
  throw Error(fmt::format(
      "no worker can work{}: {} ({}{}); `kernelites doctor` says what is missing",
      is_lost ? "" : fmt::format(" for {:g} s", options_.restart.outage_s), last_failure_, last_failed_,
      options_.error_log == "/dev/null" ? "" : "; messages: " + options_.error_log.string()));
}

void WorkerPool::assign(Time now) {
  std::vector<WaitingRequest> waiting;
  for (const Queued& queued : queue_) waiting.push_back({queued.tries.losses, queued.back_from});
  std::vector<WorkerLoad> loads;
  for (const Slot& slot : slots_)
    loads.push_back({.is_ready = slot.connection && slot.connection->is_ready(),
                     .load = slot.connection ? slot.connection->load() : 0,
                     .is_alone_with_one = slot.is_alone_with_one});
  std::size_t sent = 0;
  for (const PlacedRequest& placed :
       place_requests(waiting, std::move(loads), options_.requests_per_worker)) {
    const auto at = queue_.begin() + static_cast<std::ptrdiff_t>(placed.request - sent++);
    const Queued next = std::move(*at);
    queue_.erase(at);
    tries_[next.request.id] = next.tries;
    Slot& slot = slots_[placed.worker];
    slot.is_alone_with_one = next.tries.losses > 0;
    slot.connection->submit(next.request, now);
  }
}

void WorkerPool::report(const Slot& slot, const std::string& what) {
  if (incidents_.size() < k_incidents_max) incidents_.push_back(slot.name + ": " + what);
}

}  // namespace kernelites
