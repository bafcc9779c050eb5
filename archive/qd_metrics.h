// SPDX-License-Identifier: Apache-2.0
// Figures of a grid as the quality-diversity library pyribs defines them (ribs.archives.ArchiveStats, 0.12).
//
// The objective is an elite's fitness, which is a speed-up and never negative: the offset that pyribs subtracts is 0
// unless told otherwise. With a grid that only takes better elites every figure but `obj_mean` can only rise; here an
// elite that is disproved leaves its cell, and the figures with it.
#pragma once

#include <cstddef>
#include <optional>

#include "archive/grid.h"
#include "engine/core/json.h"

namespace kernelites {

struct QdMetrics {
  std::size_t num_elites = 0;      ///< occupied cells
  double coverage = 0;             ///< num_elites / cells
  double qd_score = 0;             ///< sum over elites of objective - offset
  double norm_qd_score = 0;        ///< qd_score / cells: an empty cell counts as the offset
  std::optional<double> obj_max;   ///< of the elites that are there; empty grid: none
  std::optional<double> obj_mean;  ///< over elites; empty grid: none
  bool operator==(const QdMetrics&) const = default;
};

QdMetrics qd_metrics(const Grid& grid, double offset = 0);

/// The members by name; null for what an empty grid has not.
void to_json(Json& json, const QdMetrics& metrics);

}  // namespace kernelites
