// SPDX-License-Identifier: Apache-2.0
// Ratios over common rounds.
#include "evaluators/worker/pipeline/timed_arms.h"

#include <algorithm>
#include <span>

#include "engine/core/paired_ratio.h"

namespace kernelites::worker {
namespace {

/// The gain that the elite rule asks for at least: rounds are taken until it is proven or out of reach.
constexpr double k_effect = 0.005;

}  // namespace

std::vector<std::size_t> TimedArms::present() const {
  std::vector<std::size_t> arms;
  for (std::size_t arm = 0; arm < time_us.size(); ++arm)
    if (stopped_after[arm] == 0) arms.push_back(arm);
  return arms;
}

PairedRatio TimedArms::ratio(std::size_t arm, double confidence) const {
  const std::size_t rounds = std::min(time_us[0].size(), time_us[arm].size());
  return paired_ratio(std::span(time_us[0]).first(rounds), std::span(time_us[arm]).first(rounds), confidence);
}

void TimedArms::look(const LookPlan& looks, int rounds, const std::vector<bool>& is_itself) {
  if (looks.is_hopeless_look(rounds)) {
    is_over = leave_out_hopeless(is_itself, looks.hopeless_confidence());
    is_over = is_over || (time_us.size() > 1 && present().size() == 1);
  } else if (looks.is_look(rounds)) {
    const std::vector<std::size_t> arms = present();
    is_over = std::all_of(arms.begin(), arms.end(), [&](std::size_t arm) {
      return arm == 0 || is_decided(ratio(arm, looks.look_confidence()), k_effect);
    });
  }
}

bool TimedArms::leave_out_hopeless(const std::vector<bool>& is_itself, double confidence) {
  int others = 0, ahead = 0;
  for (std::size_t arm = 1; arm < time_us.size(); ++arm) {
    if (is_itself[arm]) continue;
    const PairedRatio against = ratio(arm, confidence);
    ++others;
    if (is_candidate_hopeless(against)) ++ahead;
    if (is_arm_hopeless(against)) stopped_after[arm] = static_cast<int>(time_us[arm].size());
  }
  if (others == 0 || ahead < others) return false;
  stopped_after[0] = static_cast<int>(time_us[0].size());
  return true;
}

}  // namespace kernelites::worker
