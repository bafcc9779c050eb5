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
/// What came after the run's first 1/k_window says how often improvements come now; and so much more than there were:
/// where there was none the next is far away, but not infinitely far. Both were chosen in the frozen landscapes.
constexpr int k_window = 4;
constexpr double k_forecast_prior = 0.25;
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
  impulse.floor = rung_floor(rung);
  impulse.is_restarted = rng.uniform() < k_restart_share && rung >= Rung::restart;
  return impulse;
}

double rung_floor(Rung rung) { return rung >= Rung::switch_mix ? k_switched_floor : 0; }

void Stagnation::over(std::uint64_t ordinal, double usd, double device_s) {
  ++variations_;
  usd_ += usd;
  device_s_ += device_s;
  newest_ = std::max(newest_, ordinal);
  if (ordinal > last_improved_) since_.insert(ordinal);
}

void Stagnation::improved(std::uint64_t ordinal) {
  improved_.push_back(ordinal);
  last_improved_ = std::max(last_improved_, ordinal);
  since_.erase(since_.begin(), since_.upper_bound(last_improved_));
}

Rung Stagnation::rung() const {
  if (!settings_.is_on) return Rung::none;
  const int level = barren() / settings_.patience;
  return static_cast<Rung>(settings_.stops ? std::min(level, k_rungs) : level % k_rungs);
}

Forecast Stagnation::forecast() const {
  if (variations_ < k_forecast_variations_min) return {};
  const auto recent = std::count_if(improved_.begin(), improved_.end(),
                                    [&](std::uint64_t ordinal) { return ordinal > newest_ / k_window; });
  const double c = (static_cast<double>(recent) + k_forecast_prior) / std::log(k_window);
  const auto n = static_cast<double>(variations_);
  const double wait = n * (std::exp2(1 / c) - 1);
  return {.variations = wait, .usd = wait * usd_ / n, .device_s = wait * device_s_ / n};
}

}  // namespace kernelites
