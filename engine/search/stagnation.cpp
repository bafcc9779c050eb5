// SPDX-License-Identifier: Apache-2.0
// Counting, rungs and the forecast.
#include "engine/search/stagnation.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace kernelites {
namespace {

constexpr double k_redirect_share = 0.5;
constexpr double k_restart_share = 0.5;
constexpr double k_switched_floor = 0.8;
constexpr int k_rungs = 5;
/// With fewer variations nothing can be said of the next improvement.
constexpr int k_forecast_variations_min = 8;

}  // namespace

const char* rung_name(Rung rung) {
  constexpr std::array<const char*, 6> k_names{"none", "nudge", "redirect", "switch_mix", "restart", "stop"};
  return k_names.at(static_cast<std::size_t>(rung));
}

Impulse impulse_of(Rung rung, Rng& rng) {
  Impulse impulse;
  impulse.is_nudged = rung >= Rung::nudge;
  impulse.is_redirected = rng.uniform() < k_redirect_share && rung >= Rung::redirect;
  if (rung >= Rung::switch_mix) impulse.floor = k_switched_floor;
  impulse.is_restarted = rng.uniform() < k_restart_share && rung >= Rung::restart;
  return impulse;
}

void Stagnation::over(std::uint64_t ordinal, double usd, double device_s) {
  ++variations_;
  usd_ += usd;
  device_s_ += device_s;
  if (ordinal > improved_) since_.insert(ordinal);
}

void Stagnation::improved(std::uint64_t ordinal) {
  ++improvements_;
  improved_ = std::max(improved_, ordinal);
  since_.erase(since_.begin(), since_.upper_bound(improved_));
}

Rung Stagnation::rung() const {
  if (!settings_.is_on) return Rung::none;
  const int level = barren() / settings_.patience;
  return static_cast<Rung>(settings_.stops ? std::min(level, k_rungs) : level % k_rungs);
}

Forecast Stagnation::forecast() const {
  if (variations_ < k_forecast_variations_min) return {};
  const auto n = static_cast<double>(variations_);
  // Half an improvement more than there were: for none at all the next is far away, but not infinitely far.
  const double c = (static_cast<double>(improvements_) + 0.5) / std::log(n);
  const double wait = n * (std::exp2(std::min(20.0, 1 / c)) - 1);
  return {.variations = wait, .usd = wait * usd_ / n, .device_s = wait * device_s_ / n};
}

}  // namespace kernelites
