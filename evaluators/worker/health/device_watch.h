// SPDX-License-Identifier: Apache-2.0
// Asks whether a device is fit before and after each evaluation, and waits where that passes by itself.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "evaluators/worker/health/health_policy.h"

namespace kernelites::worker {

/// Thread-safe. A device that was quarantined stays so for this process's life: whoever starts the next one decides
/// when.
class DeviceWatch {
 public:
  using Reader = std::function<HealthReading()>;
  using Sleep = std::function<void(double seconds)>;

  /// Takes the first reading. `read` is called by one thread at a time, `sleep` by several.
  DeviceWatch(Reader read, Sleep sleep);

  /// Why the device cannot be used; empty: it can, or no reading says otherwise.
  std::string quarantine();
  /// Waits while evaluation is paused, at most `seconds`; it goes on after k_good_readings good readings in a row.
  /// Returns why the device is unfit still; empty: go on. `waited_s` grows by what it took; `pause` says what for.
  std::string wait_until_fit(double seconds, double& waited_s, std::string& pause);
  /// Why what was evaluated since the last reading does not count; empty: it does. A pause matters to times only.
  std::string spoiled(bool is_timing);
  /// The same after a failure that may be the device's: `sticky_error` is what a fresh process met, if anything.
  std::string spoiled_by(std::string sticky_error);
  /// What no reading has shown so far.
  std::vector<std::string> unchecked_names();

  static constexpr int k_good_readings = 2;
  static constexpr double k_step_s = 1;

 private:
  HealthVerdict look(std::string sticky_error = {});

  Reader read_;
  Sleep sleep_;
  std::mutex mutex_;
  HealthReading first_;
  std::string quarantine_;
};

}  // namespace kernelites::worker
