// SPDX-License-Identifier: Apache-2.0
// When a worker that ended is started again, and when waiting for one has no hope left: times without a clock.
#include "evaluators/restart_plan.h"

#include <algorithm>
#include <cmath>

namespace kernelites {
namespace {

std::chrono::steady_clock::duration duration_of(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

double doubled(double first, int times, double most) { return std::min(first * std::pow(2.0, times), most); }

}  // namespace

void RestartPlan::is_there(std::size_t worker, bool is_busy, Time now) {
  Worker& one = workers_[worker];
  one.has_greeted = true;
  // One that came out of quarantine has to answer first: it may fail at whatever it is given.
  if (one.quarantines == 0 || !is_busy) able_ = std::max(able_.value_or(now), now);
}

bool RestartPlan::answered(std::size_t worker, Time now) {
  Worker& one = workers_[worker];
  const bool was_away = one.quarantines > 0 || one.disturbances > 0;
  one.failures = one.quarantines = one.disturbances = 0;
  able_ = std::max(able_.value_or(now), now);
  return was_away;
}

std::optional<RestartPlan::Rest> RestartPlan::ended(std::size_t worker, WorkerEnd how, Time now) {
  Worker& one = workers_[worker];
  // What a worker says of its machine can change while a run lasts (a device that vanished); before, it is the answer.
  if (how == WorkerEnd::unable && !one.has_greeted) {
    one.is_given_up = true;
    return std::nullopt;
  }
  one.ended_at = now;
  Rest rest;
  if (how == WorkerEnd::disturbed) {
    rest = {.seconds = settings_.disturbed_s, .kind = Rest::disturbance, .in_a_row = ++one.disturbances};
  } else {
    rest = {.seconds = doubled(settings_.backoff_s, one.failures++, settings_.backoff_max_s),
            .kind = Rest::backoff,
            .in_a_row = one.failures};
    if (one.failures >= settings_.failures_max || how == WorkerEnd::unable) {
      const double most = std::min(settings_.quarantine_max_s, settings_.outage_s / 2);
      rest.kind = Rest::quarantine;
      rest.seconds = doubled(settings_.quarantine_s, one.quarantines++, most);
    }
  }
  one.restart_at = now + duration_of(rest.seconds);
  if (how == WorkerEnd::disturbed) able_ = std::max(able_.value_or(now), *one.restart_at);
  return rest;
}

bool RestartPlan::may_start(std::size_t worker, Time now) const {
  return !workers_[worker].restart_at || now >= *workers_[worker].restart_at;
}

bool RestartPlan::is_lost() const {
  return std::all_of(workers_.begin(), workers_.end(), [&](const Worker& worker) {
    return worker.is_given_up || (!able_ && worker.quarantines > 0);
  });
}

bool RestartPlan::is_outage(Time now) const {
  if (!able_) return false;
  const Time end = *able_ + duration_of(settings_.outage_s);
  return now > end && std::all_of(workers_.begin(), workers_.end(), [&](const Worker& worker) {
           return worker.is_given_up || (worker.ended_at && *worker.ended_at > end);
         });
}

}  // namespace kernelites
