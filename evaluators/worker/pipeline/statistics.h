// SPDX-License-Identifier: Apache-2.0
// Medians, quantiles and the bootstrap interval of a paired log-ratio.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/evaluation.h"

namespace kernelites::worker {

/// Quantile by linear interpolation between order statistics. REQUIRES: samples is not empty, 0 <= q <= 1.
double quantile(std::vector<double> samples, double q);
double median(std::vector<double> samples);

/// Median and percentiles of one arm's times in microseconds.
ArmTiming summarise(const std::vector<double>& time_us, bool is_modelled);

/// Log-ratio of two arms timed in the same rounds: median over rounds of ln(candidate / arm), with the
/// percentile bootstrap interval over rounds (2000 resamples, Efron 1979). REQUIRES: equally many samples, at
/// least one.
PairedRatio paired_ratio(const std::vector<double>& candidate_us, const std::vector<double>& arm_us,
                         double confidence, std::uint64_t seed);

}  // namespace kernelites::worker
