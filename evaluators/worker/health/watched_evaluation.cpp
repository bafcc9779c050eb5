// SPDX-License-Identifier: Apache-2.0
// Waiting, evaluating, repeating and discarding, by what the watch says and what time is left.
#include "evaluators/worker/health/watched_evaluation.h"

#include <fmt/format.h>

#include <algorithm>

#include "evaluators/protocol/device_unfit.h"

namespace kernelites::worker {
namespace {

/// A result that nobody may use; another worker is asked.
void discard(Reply& reply, bool is_for_now, const std::string& why) {
  reply.examination.reset();
  reply.duel.reset();
  reply.calibration.reset();
  reply.profile.reset();
  reply.error = fmt::format("{}{}{}", k_device_unfit, is_for_now ? k_for_now : "", why);
}

bool is_late(const Reply& reply) {
  const auto is_deadline = [](const auto& result) {
    return result && !result->verdict.is_passed && result->verdict.reason == "deadline";
  };
  return is_deadline(reply.examination) || is_deadline(reply.duel) || is_deadline(reply.profile);
}

/// Why the reply does not count; empty: it does. `cost`: what took a part of its time, if anything did.
std::string spoiled(DeviceWatch& watch, const Reply& reply, const WatchedSteps& steps,
                    const std::string& cost) {
  if (!reply.error.empty()) return watch.spoiled_by(steps.sticky_error());
  const bool is_failed_by_time = is_late(reply);
  // What takes too long beside somebody else's work is a time, too.
  std::string why = watch.spoiled(reply.duel.has_value() || is_failed_by_time);
  if (why.empty() && is_failed_by_time && !cost.empty())
    why = "the deadline passed, of which the device had taken a part: " + cost;
  return why;
}

}  // namespace

Reply evaluate_watched(DeviceWatch& watch, double deadline_s, const WatchedSteps& steps) {
  const double start = steps.now_s();
  Reply reply;
  double waited_s = 0, left_s = deadline_s, device_s = 0;
  std::string pause, cost, unfit;
  do {
    const double wait_s_max = std::min(k_pause_s_max, k_pause_share_max * deadline_s) - waited_s;
    unfit = watch.wait_until_fit(std::max(0.0, wait_s_max), waited_s, pause);
    left_s = deadline_s - (steps.now_s() - start);
    if (!unfit.empty()) break;
    if (waited_s > 0) cost = pause;
    reply = steps.evaluate(left_s);
    device_s += reply.device_s;
    unfit = spoiled(watch, reply, steps, cost);
    if (!unfit.empty()) cost = unfit;
    left_s = deadline_s - (steps.now_s() - start);
  } while (!unfit.empty() && watch.quarantine().empty() && left_s > deadline_s / 2);
  reply.device_s = device_s;
  if (!unfit.empty()) discard(reply, watch.quarantine().empty(), unfit);
  if (waited_s == 0) return reply;
  const std::string note = fmt::format("waited {:g} s for the device: {}", waited_s, pause);
  if (reply.examination) reply.examination->notes.push_back(note);
  if (reply.duel) reply.duel->notes.push_back(note);
  return reply;
}

}  // namespace kernelites::worker
