// SPDX-License-Identifier: Apache-2.0
// What the tried tunings of a source teach about the untried ones: a sum of effects, and which pairs of values fail.
//
// log speed-up = constant + one effect for each tunable's value, normally distributed beforehand (Bayesian linear
// regression); a draw from what is known of them (Thompson 1933) ranks choices, so that unknown values are tried too.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/core/rng.h"
#include "engine/variation/tuning.h"

namespace kernelites {

/// A tuning that was evaluated.
struct TunedPoint {
  Tuning tuning;
  bool is_passed = false;
  std::map<std::string, double> log_speedup =
      {};  ///< by bench workload, over one reference; empty: not timed
};

/// A value over the tunables of one source.
class TuneModel {
 public:
  explicit TuneModel(const std::vector<Tunable>& tunables);

  /// A point that passed counts for speed if `log_speedup` is given.
  void add(const Tuning& tuning, bool is_passed);
  void add(const Tuning& tuning, double log_speedup);

  /// One draw of all effects.
  struct Draw {
    std::vector<double> effects;  // the constant first
  };
  Draw draw(Rng& rng) const;
  double log_speedup(const Draw& draw, const Tuning& tuning) const;
  /// Probability that it passes: that of its worst pair of values, (passed + 1) / (tried + 1.25).
  double pass_probability(const Tuning& tuning) const;

 private:
  std::vector<std::size_t> columns(const Tuning& tuning) const;

  std::vector<Tunable> tunables_;
  std::vector<std::size_t> first_column_;
  std::size_t column_count_ = 1;
  std::vector<double> normal_;  // X^T X, column_count_ squared
  std::vector<double> right_;   // X^T y
  struct Count {
    int tried = 0, passed = 0;
  };
  std::map<std::pair<std::size_t, std::size_t>, Count> pairs_;
};

}  // namespace kernelites
