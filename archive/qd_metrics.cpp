// SPDX-License-Identifier: Apache-2.0
// Figures of a grid as the quality-diversity library pyribs defines them.
#include "archive/qd_metrics.h"

#include <algorithm>

namespace kernelites {

QdMetrics qd_metrics(const Grid& grid, double offset) {
  QdMetrics metrics{.num_elites = grid.elite_count()};
  double sum = 0;
  grid.for_each([&](const Elite& elite) {
    sum += elite.fitness;
    metrics.qd_score += elite.fitness - offset;
    metrics.obj_max = metrics.obj_max ? std::max(*metrics.obj_max, elite.fitness) : elite.fitness;
  });
  const auto cells = static_cast<double>(grid.cell_count());
  const auto elites = static_cast<double>(metrics.num_elites);
  metrics.coverage = elites / cells;
  metrics.norm_qd_score = metrics.qd_score / cells;
  if (metrics.num_elites > 0) metrics.obj_mean = sum / elites;
  return metrics;
}

void to_json(Json& json, const QdMetrics& metrics) {
  json = {{"num_elites", metrics.num_elites},
          {"coverage", metrics.coverage},
          {"qd_score", metrics.qd_score},
          {"norm_qd_score", metrics.norm_qd_score},
          {"obj_max", nullptr},
          {"obj_mean", nullptr}};
  if (metrics.obj_max) json["obj_max"] = *metrics.obj_max;
  if (metrics.obj_mean) json["obj_mean"] = *metrics.obj_mean;
}

}  // namespace kernelites
