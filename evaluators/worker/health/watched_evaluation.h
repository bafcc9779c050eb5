// SPDX-License-Identifier: Apache-2.0
// One evaluation beside a device's watch: what the device spoiled is never told as the candidate's verdict.
#pragma once

#include <functional>
#include <string>

#include "evaluators/protocol/protocol.h"
#include "evaluators/worker/health/device_watch.h"

namespace kernelites::worker {

/// What an evaluation beside a watch is made of; a test puts its own in.
struct WatchedSteps {
  /// A whole reply within so many seconds; trouble is in its `error`.
  std::function<Reply(double deadline_s)> evaluate;
  /// What a fresh process meets on the device; empty: it can use it.
  std::function<std::string()> sticky_error;
  /// Seconds of a clock that only goes forward.
  std::function<double()> now_s;
};

/// A device that is disturbed is waited for, but neither longer nor for a larger share of the request's time.
inline constexpr double k_pause_s_max = 60, k_pause_share_max = 0.25;

/// Waits until the device is fit and evaluates. A disturbed duel is repeated while half of `deadline_s` is left;
/// what is spoiled still is discarded, with an error that begins with k_device_unfit. So is a failure by deadline
/// beside a disturbance, after a wait or in a repetition: the candidate did not have its own time.
Reply evaluate_watched(DeviceWatch& watch, double deadline_s, const WatchedSteps& steps);

}  // namespace kernelites::worker
