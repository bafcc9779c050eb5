// SPDX-License-Identifier: Apache-2.0
// Waiting for a device that is disturbed, and giving up one that has failed.
#include "evaluators/worker/health/device_watch.h"

#include <utility>

namespace kernelites::worker {

DeviceWatch::DeviceWatch(Reader read, Sleep sleep) : read_(std::move(read)), sleep_(std::move(sleep)) {
  first_ = read_();
  const HealthVerdict verdict = judge(first_, first_);
  if (verdict.state == HealthState::quarantined) quarantine_ = verdict.words;
}

/// REQUIRES: mutex_ is held.
HealthVerdict DeviceWatch::look(std::string sticky_error) {
  if (!quarantine_.empty()) return {HealthState::quarantined, "quarantined", quarantine_};
  HealthReading now = read_();
  now.sticky_error = std::move(sticky_error);
  HealthVerdict verdict = judge(first_, now);
  if (verdict.state == HealthState::quarantined) quarantine_ = verdict.words;
  return verdict;
}

std::string DeviceWatch::quarantine() {
  const std::lock_guard lock(mutex_);
  return quarantine_;
}

std::string DeviceWatch::wait_until_fit(double seconds, double& waited_s, std::string& pause) {
  // Not held while it sleeps: whoever else comes waits for as long as it may itself, and says so.
  std::unique_lock lock(mutex_);
  HealthVerdict verdict = look();
  if (verdict.state == HealthState::fit) return "";
  int good = 0;
  for (double waited = 0; verdict.state != HealthState::quarantined; waited += k_step_s) {
    if (verdict.state == HealthState::paused) {
      pause = verdict.words;
      good = 0;
    } else if (++good >= k_good_readings) {
      return "";
    }
    if (waited >= seconds) return pause;
    lock.unlock();
    sleep_(k_step_s);
    lock.lock();
    waited_s += k_step_s;
    verdict = look();
  }
  return quarantine_;
}

std::string DeviceWatch::spoiled(bool is_timing) {
  const std::lock_guard lock(mutex_);
  const HealthVerdict verdict = look();
  const bool is_bad =
      verdict.state == HealthState::quarantined || (is_timing && verdict.state == HealthState::paused);
  return is_bad ? verdict.words : "";
}

std::string DeviceWatch::spoiled_by(std::string sticky_error) {
  const std::lock_guard lock(mutex_);
  const HealthVerdict verdict = look(std::move(sticky_error));
  return verdict.state == HealthState::quarantined ? verdict.words : "";
}

std::vector<std::string> DeviceWatch::unchecked_names() {
  const std::lock_guard lock(mutex_);
  return unchecked(first_);
}

}  // namespace kernelites::worker
