// SPDX-License-Identifier: Apache-2.0
// The history replayed into a grid, telling by telling.
#include "archive/progress.h"

#include <algorithm>
#include <map>

#include "engine/core/error.h"

namespace kernelites {
namespace {

ProgressPoint point_of(const Grid& grid, double best, std::int64_t evaluations) {
  const QdMetrics metrics = qd_metrics(grid);
  return {.evaluations = evaluations,
          .best = std::max(best, metrics.obj_max.value_or(0)),
          .num_elites = metrics.num_elites,
          .coverage = metrics.coverage,
          .qd_score = metrics.qd_score};
}

void replay(Grid& grid, const EliteStep& step) {
  if (step.status == "withdrawn")
    grid.remove(step.elite.cell);
  else
    grid.put(step.elite);
}

}  // namespace

std::vector<ProgressPoint> progress_of(const Archive& archive) {
  const std::vector<EliteStep> history = archive.elite_history();
  Grid grid(archive.axes());
  std::vector<ProgressPoint> points{{}};
  std::size_t next = 0;
  for (const Telling& telling : archive.tellings()) {
    // Its own step, if it has one, ends what happened up to it.
    const auto own = std::find_if(history.begin() + static_cast<std::ptrdiff_t>(next), history.end(),
                                  [&](const EliteStep& step) {
                                    return step.elite.ordinal == telling.ordinal &&
                                           (step.status == "added" || step.status == "improved");
                                  });
    if (telling.is_placed && own != history.end())
      for (const auto end = static_cast<std::size_t>(own - history.begin()) + 1; next < end; ++next)
        replay(grid, history[next]);
    const ProgressPoint now = point_of(grid, points.back().best, points.back().evaluations);
    if (telling.is_seed)
      points.back() = now;
    else
      points.push_back({now.evaluations + 1, now.best, now.num_elites, now.coverage, now.qd_score});
  }
  for (; next < history.size(); ++next) replay(grid, history[next]);
  points.back() = point_of(grid, points.back().best, points.back().evaluations);
  return points;
}

const ProgressPoint& point_at(const std::vector<ProgressPoint>& points, std::int64_t evaluations) {
  KERNELITES_ASSERT(!points.empty() && evaluations >= 0);
  return points[std::min(static_cast<std::size_t>(evaluations), points.size() - 1)];
}

double mean_over(const std::vector<ProgressPoint>& points, double ProgressPoint::*figure, std::int64_t last) {
  KERNELITES_ASSERT(last > 0);
  double sum = 0;
  for (std::int64_t at = 1; at <= last; ++at) sum += point_at(points, at).*figure;
  return sum / static_cast<double>(last);
}

}  // namespace kernelites
