// SPDX-License-Identifier: Apache-2.0
// How a run got where it is: the grid's figures after every candidate that was told.
#pragma once

#include <cstdint>
#include <vector>

#include "archive/archive.h"
#include "archive/qd_metrics.h"

namespace kernelites {

/// The grid after `evaluations` candidates beyond the seeds.
struct ProgressPoint {
  std::int64_t evaluations = 0;
  double best = 0;  ///< highest fitness of an elite so far; 0: none yet
  std::size_t num_elites = 0;
  double coverage = 0;
  double qd_score = 0;
  std::uint64_t best_ordinal = 0;  ///< whose fitness `best` is
};

/// One point per told candidate that is no seed, and point 0: the grid when all seeds were told. An elite that was
/// renewed or withdrawn counts from the next telling on. One that was withdrawn for good was never right, so that it is
/// no point's best: the score and the coverage are those that the search saw.
std::vector<ProgressPoint> progress_of(const Archive& archive);

/// Mean of a figure over evaluations 1 to `last`: the area under its curve, per evaluation. A curve that ends earlier
/// goes on as it ended. REQUIRES: points is not empty; last > 0.
double mean_over(const std::vector<ProgressPoint>& points, double ProgressPoint::*figure, std::int64_t last);
/// The point at `evaluations`, the last one where the curve ends earlier. REQUIRES: points is not empty.
const ProgressPoint& point_at(const std::vector<ProgressPoint>& points, std::int64_t evaluations);

}  // namespace kernelites
