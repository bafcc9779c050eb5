// SPDX-License-Identifier: Apache-2.0
// The ladder of what a search does when nothing comes out any more: a pure function of its history.
//
// Counted are variations that are over since the fastest elite was last beaten. After `patience` of them comes the
// first rung, and each rung lasts as long: nudge (the prompt says that small changes lead nowhere), redirect
// (variations aim at an empty cell beside an elite, or at one that rises), switch_mix (arms are drawn by their
// weights, whatever the bandit thinks), restart (parents are elites of all kinds but the fastest), stop. A better
// elite leads back to the ground. What a rung adds, the next ones keep up in turn: each has a share of the variations.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "engine/core/rng.h"
#include "engine/search/stagnation_settings.h"

namespace kernelites {

enum class Rung { none, nudge, redirect, switch_mix, restart, stop };
const char* rung_name(Rung rung);

/// What a rung does to one variation.
struct Impulse {
  bool is_nudged = false;      ///< the prompt says that nothing has come out lately
  bool is_redirected = false;  ///< it aims at a cell
  bool is_restarted = false;   ///< its parent is any elite but the fastest
  double floor = 0;            ///< at least so large a share of the arms goes by weights
};
/// What `rung` does to the next variation: what it and those below it add, each now and then.
Impulse impulse_of(Rung rung, Rng& rng);
/// Its `floor` alone.
double rung_floor(Rung rung);

/// What the next improvement of the fastest elite will cost: by the middle of its distribution.
struct Forecast {
  double variations = 0;  ///< 0: unknown, too little has happened
  double usd = 0;
  double device_s = 0;
};

/// A value: variations that are over, and those among them that brought a new fastest elite.
class Stagnation {
 public:
  explicit Stagnation(const StagnationSettings& settings = {}) : settings_(settings) {}

  /// The variation `ordinal` is over, and cost this.
  void over(std::uint64_t ordinal, double usd, double device_s);
  /// A candidate of the variation `ordinal` became the fastest elite.
  void improved(std::uint64_t ordinal);

  /// Variations that are over since.
  int barren() const { return static_cast<int>(since_.size()); }
  Rung rung() const;
  /// Improvements become rarer as records do: their rate falls with the number n of variations as c/n. Those of the
  /// last three quarters of the run say what c is, and half of the time the next one has come when n has grown by
  /// 2^(1/c).
  Forecast forecast() const;

 private:
  StagnationSettings settings_;
  std::set<std::uint64_t> since_;
  std::vector<std::uint64_t> improved_;  // ordinals that did, as they were told
  std::uint64_t last_improved_ = 0, newest_ = 0;
  std::int64_t variations_ = 0;
  double usd_ = 0, device_s_ = 0;
};

}  // namespace kernelites
