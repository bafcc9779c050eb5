// SPDX-License-Identifier: Apache-2.0
// When a search stops because nothing comes out any more, and what the next improvement would cost: a pure function of
// its history.
//
// Counted are variations that are over since the fastest elite was last beaten. After `patience` of them the run ends.
// Rungs before that (prompts that say so, aiming at empty cells, other shares of operators, other parents) were
// measured and brought nothing (docs/steering.md).
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "engine/core/json.h"
#include "engine/search/stagnation_settings.h"

namespace kernelites {

/// Variations and what they cost at the run's rates.
struct ForecastCost {
  double variations = 0, usd = 0, device_s = 0;
};

/// When the fastest elite will be beaten, and what it costs until then.
struct Forecast {
  bool is_known = false;           ///< false: too little has happened
  double chance = 0;               ///< that it is beaten within as many variations as the run has had
  ForecastCost low, median, high;  ///< until then, if it is: 10 %, 50 % and 90 % of its distribution
};
/// "the next improvement costs about $1.20 / 3 GPU minutes (80 %: $0.10 to $7.00), if it comes; ...".
std::string forecast_text(const Forecast& forecast);
/// The members forecast_chance, and _variations, _usd and _device_s, each with _low and _high; 0: unknown.
Json forecast_json(const Forecast& forecast);

/// A value: variations that are over, and those among them that brought a new fastest elite.
class Stagnation {
 public:
  Stagnation() = default;
  explicit Stagnation(const StagnationSettings& settings) : settings_(settings) {}

  /// The variation `ordinal` is over, and cost this.
  void over(std::uint64_t ordinal, double usd, double device_s);
  /// A candidate of the variation `ordinal` became the fastest elite.
  void improved(std::uint64_t ordinal);

  /// Variations that are over since.
  int barren() const { return static_cast<int>(since_.size()); }
  /// Nothing has come out for as long as the settings allow.
  bool is_over_due() const;
  /// What is long overdue is far away: of what came at all, the wait t after the improvement before it exceeded s/(s+t)
  /// of the time, and a share of the improvements was the last. Both figures are of the frozen landscapes
  /// (docs/steering.md).
  Forecast forecast() const;

 private:
  StagnationSettings settings_;
  std::set<std::uint64_t> since_;
  std::uint64_t last_improved_ = 0, newest_ = 0;
  std::int64_t variations_ = 0;
  double usd_ = 0, device_s_ = 0;
};

}  // namespace kernelites
