// SPDX-License-Identifier: Apache-2.0
// Counting, judging and waiting.
#include "engine/search/null_watch.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/core/error.h"

namespace kernelites {
namespace {

constexpr double k_median_max = 0.003;
constexpr int k_failures_max = 6;
constexpr double k_first_pause_s = 5;

}  // namespace

bool is_good_null(const PairedRatio& ratio) {
  // Written so that a NaN is not good.
  return std::abs(ratio.log_ratio_median) < k_median_max && ratio.log_ratio_low <= 0 &&
         ratio.log_ratio_high >= 0;
}

bool NullWatch::is_due(double now_s) const {
  if (every_ <= 0) return false;
  if (failures_ > 0) return now_s >= not_before_s_;
  return is_demanded_ || timed_ >= every_;
}

void NullWatch::take(const std::optional<PairedRatio>& ratio, double now_s) {
  timed_ = 0;
  is_demanded_ = false;
  if (ratio && is_good_null(*ratio)) {
    failures_ = 0;
    return;
  }
  ++failures_;
  if (failures_ >= k_failures_max)
    throw Error(fmt::format(
        "the device cannot be timed: a kernel differed from itself {} times in a row{}; is something else "
        "running on it?",
        failures_,
        ratio ? fmt::format(", at last by {:+.2f} %", 100 * std::expm1(ratio->log_ratio_median)) : ""));
  not_before_s_ = now_s + k_first_pause_s * static_cast<double>(1 << (failures_ - 1));
}

}  // namespace kernelites
