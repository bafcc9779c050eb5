// SPDX-License-Identifier: Apache-2.0
// Numbers of launches, and the rule about the clock.
#include "evaluators/worker/pipeline/timed_round.h"

#include <algorithm>
#include <cmath>

#include "engine/core/statistics.h"

namespace kernelites::worker {
namespace {

/// A sample's launches take about so long, within limits.
constexpr double k_sample_us = 600;
constexpr int k_launches_max = 32;
/// How far probes of one round may lie apart, and below what is usual. A probe itself is good to 0.3 %.
constexpr double k_spread_max = 0.03, k_drop_max = 0.1;
constexpr int k_pause_ms = 5, k_pause_ms_max = 500;

}  // namespace

int launches_per_sample(double fastest_us) {
  if (!(fastest_us > 0)) return 1;
  return std::clamp(static_cast<int>(std::lround(k_sample_us / fastest_us)), 1, k_launches_max);
}

bool RoundClock::accepts(const TimedRound& round) {
  double low = HUGE_VAL, high = 0;
  std::vector<double> medians;
  for (const ExecutorClient::Ran& ran : round) {
    if (ran.clock_ghz <= 0) continue;
    low = std::min(low, ran.clock_ghz_min);
    high = std::max(high, ran.clock_ghz_max);
    medians.push_back(ran.clock_ghz);
  }
  if (medians.empty()) return true;  // the device's timer stands still: nothing is known
  const double usual = usual_ghz();
  const bool is_steady = high <= low * (1 + k_spread_max) && (usual == 0 || low >= usual * (1 - k_drop_max));
  if (!is_steady && discards_left_ > 0) {
    --discards_left_;
    ++discarded_;
    ++discarded_in_a_row_;
    return false;
  }
  discarded_in_a_row_ = 0;
  usual_.push_back(median(medians));
  return true;
}

int RoundClock::pause_ms() const {
  return std::min(k_pause_ms << std::clamp(discarded_in_a_row_ - 1, 0, 10), k_pause_ms_max);
}

double RoundClock::usual_ghz() const { return usual_.empty() ? 0 : median(usual_); }

}  // namespace kernelites::worker
