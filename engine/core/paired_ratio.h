// SPDX-License-Identifier: Apache-2.0
// How much faster one arm is than another, timed in the same rounds: estimate, interval, and when to stop measuring.
//
// The log ratios of the rounds scatter symmetrically about the true one: both arms run in every round, in random
// order, so what disturbs one may as well disturb the other. For such samples the Hodges-Lehmann estimate (the median
// of all pairwise means) needs a third fewer rounds than the median, and Wilcoxon's signed-rank distribution gives its
// interval for any shape of the noise (Hodges and Lehmann 1963; Hollander and Wolfe, Nonparametric Statistical Methods,
// chapter 3).
#pragma once

#include <span>
#include <vector>

#include "engine/core/evaluation.h"

namespace kernelites {

/// Estimate and interval of ln(candidate / arm) over rounds. With too few rounds for `confidence` the interval spans
/// all samples and its own confidence is told. REQUIRES: equally many times, at least one, all positive.
PairedRatio paired_ratio(std::span<const double> candidate_us, std::span<const double> arm_us,
                         double confidence);

/// The same for times that repeat exactly (the virtual GPU): the interval is a point.
PairedRatio exact_ratio(double candidate_us, double arm_us, double confidence);

/// Measuring in steps: after each look it may stop. Looking several times gives noise several chances, so every look
/// works at a share of the error (Bonferroni), and intervals hold together at the confidence asked for. A tenth of the
/// error goes to a look after the fewest rounds that can prove anything with it: at who is hopeless.
class LookPlan {
 public:
  /// Looks after 30, 60, 120, ... rounds and after the last. REQUIRES: rounds_max >= 1.
  LookPlan(int rounds_max, double confidence);
  bool is_look(int rounds_done) const;
  /// Confidence of the interval at each look.
  double look_confidence() const { return look_confidence_; }
  double confidence() const { return confidence_; }
  int rounds_max() const { return looks_.back(); }
  /// Rounds after which is looked at who is hopeless; 0: never, the first look comes as soon.
  int hopeless_look() const { return hopeless_look_; }
  /// Whether that look comes after `rounds` rounds; never after none.
  bool is_hopeless_look(int rounds) const { return hopeless_look_ > 0 && rounds == hopeless_look_; }
  double hopeless_confidence() const { return 1 - (1 - confidence_) * k_hopeless_error; }
  /// Rounds that are taken whatever they show.
  int first_look() const { return hopeless_look_ > 0 ? hopeless_look_ : looks_.front(); }

 private:
  static constexpr double k_hopeless_error = 0.1;  ///< share of the error

  std::vector<int> looks_;
  int hopeless_look_ = 0;
  double confidence_ = 0, look_confidence_ = 0;
};

/// True if more rounds would decide nothing else about a gain of `effect` (0.005: half a percent faster): it is proven,
/// or no longer possible. An interval that only tells faster from slower does not end the measuring.
bool is_decided(const PairedRatio& ratio, double effect);

/// True if the candidate is proven to take more than 1.5 times as long as the arm, or the arm more than four times as
/// long as the candidate: whatever further rounds may show changes nothing.
bool is_candidate_hopeless(const PairedRatio& ratio);
bool is_arm_hopeless(const PairedRatio& ratio);

}  // namespace kernelites
