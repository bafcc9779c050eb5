// SPDX-License-Identifier: Apache-2.0
// Medians and quantiles of times.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/evaluation.h"

namespace kernelites {

/// Quantile by linear interpolation between order statistics. REQUIRES: samples is not empty, 0 <= q <= 1.
double quantile(std::vector<double> samples, double q);
double median(std::vector<double> samples);
/// Mean of what lies between the quartiles: nearly as robust as the median, and finer than a clock's steps.
double interquartile_mean(std::vector<double> samples);

/// Median and percentiles of one arm's times in microseconds.
ArmTiming summarise(const std::vector<double>& time_us, bool is_modelled);

}  // namespace kernelites
