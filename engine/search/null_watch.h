// SPDX-License-Identifier: Apache-2.0
// The A/A null of a run: now and then the best elite duels itself, and while that shows a difference no time counts.
//
// The comparison is recorded as a duel of the elite with `is_null` in its request. Timing is closed from a null that is
// off until one that is good: candidates are examined meanwhile, and wait with their duels. After a resume a null comes
// first, since the device may be another one, or busy.
#pragma once

#include <optional>

#include "engine/core/evaluation.h"

namespace kernelites {

/// Whether a comparison of a kernel with itself shows nothing: a median within 0.3 %, and an interval around no
/// difference.
bool is_good_null(const PairedRatio& ratio);

class NullWatch {
 public:
  /// `every`: candidates timed between two nulls; 0: none, and timing is always open.
  explicit NullWatch(int every) : every_(every) {}

  /// A candidate has been timed.
  void count() { ++timed_; }
  /// The next comparison is due before another duel is sent.
  void demand() { is_demanded_ = every_ > 0; }
  /// Whether duels may be sent.
  bool is_open() const { return failures_ == 0 && !is_demanded_; }
  /// Whether a null is to be sent now; `now_s` grows. After one that was off the next waits, longer each time.
  bool is_due(double now_s) const;
  /// The result; empty: there was none. Throws Error when it was off too often in a row: the device cannot be timed.
  void take(const std::optional<PairedRatio>& ratio, double now_s);
  int failures() const { return failures_; }

 private:
  int every_;
  int timed_ = 0, failures_ = 0;
  bool is_demanded_ = false;
  double not_before_s_ = 0;
};

}  // namespace kernelites
