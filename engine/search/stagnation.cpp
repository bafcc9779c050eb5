// SPDX-License-Identifier: Apache-2.0
// Counting, and the forecast.
#include "engine/search/stagnation.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace kernelites {
namespace {

/// Of the law of waits: the share of improvements that were the last, and the wait that half of the others exceed.
constexpr double k_last_share = 0.22;
constexpr double k_wait = 6.7;
/// With fewer variations nothing can be said of the next improvement.
constexpr int k_forecast_variations_min = 8;

/// The chance that an improvement comes later than `wait` variations after the one before it.
double overdue(double wait) { return k_last_share + (1 - k_last_share) * k_wait / (k_wait + wait); }
/// The wait with that chance; the inverse of `overdue`.
double wait_of(double chance) { return k_wait * ((1 - k_last_share) / (chance - k_last_share) - 1); }

}  // namespace

void Stagnation::over(std::uint64_t ordinal, double usd, double device_s) {
  ++variations_;
  usd_ += usd;
  device_s_ += device_s;
  newest_ = std::max(newest_, ordinal);
  if (ordinal > last_improved_) since_.insert(ordinal);
}

void Stagnation::improved(std::uint64_t ordinal) {
  last_improved_ = std::max(last_improved_, ordinal);
  since_.erase(since_.begin(), since_.upper_bound(last_improved_));
}

bool Stagnation::is_over_due() const { return settings_.is_on && barren() >= settings_.patience; }

Forecast Stagnation::forecast() const {
  if (variations_ < k_forecast_variations_min) return {};
  const auto n = static_cast<double>(variations_);
  const double waited = barren();
  const double now = overdue(waited), then = overdue(waited + n);
  const auto cost = [&](double quantile) {
    const double wait = wait_of(now - quantile * (now - then)) - waited;
    return ForecastCost{.variations = wait, .usd = wait * usd_ / n, .device_s = wait * device_s_ / n};
  };
  return {
      .is_known = true, .chance = 1 - then / now, .low = cost(0.1), .median = cost(0.5), .high = cost(0.9)};
}

std::string forecast_text(const Forecast& forecast) {
  if (!forecast.is_known) return "too early for a forecast";
  const std::string chance =
      fmt::format("if it comes: with {:.0f} % within as many variations again", 100 * forecast.chance);
  if (forecast.high.usd <= 0)  // nobody who is paid takes part
    return fmt::format(
        "the next improvement takes about {:.0f} variations / {:.1f} GPU minutes (80 %: {:.0f} to {:.0f} "
        "variations), {}",
        forecast.median.variations, forecast.median.device_s / 60, forecast.low.variations,
        forecast.high.variations, chance);
  return fmt::format(
      "the next improvement costs about ${:.2f} / {:.1f} GPU minutes (80 %: ${:.2f} to ${:.2f}), {}",
      forecast.median.usd, forecast.median.device_s / 60, forecast.low.usd, forecast.high.usd, chance);
}

Json forecast_json(const Forecast& forecast) {
  Json json{{"forecast_chance", forecast.chance}};
  const std::pair<const char*, const ForecastCost&> costs[] = {
      {"_low", forecast.low}, {"", forecast.median}, {"_high", forecast.high}};
  for (const auto& [end, cost] : costs) {
    json[fmt::format("forecast_variations{}", end)] = cost.variations;
    json[fmt::format("forecast_usd{}", end)] = cost.usd;
    json[fmt::format("forecast_device_s{}", end)] = cost.device_s;
  }
  return json;
}

}  // namespace kernelites
