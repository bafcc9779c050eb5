// SPDX-License-Identifier: Apache-2.0
// The history replayed into a grid, telling by telling.
#include "archive/progress.h"

#include <algorithm>
#include <set>

#include "engine/core/error.h"

namespace kernelites {
namespace {

/// Those that were withdrawn and are no elite again later.
std::set<std::uint64_t> withdrawn_ones(const std::vector<EliteStep>& history) {
  std::set<std::uint64_t> withdrawn;
  for (const EliteStep& step : history) {
    if (step.status == "withdrawn")
      withdrawn.insert(step.elite.ordinal);
    else
      withdrawn.erase(step.elite.ordinal);
  }
  return withdrawn;
}

/// The grid now; the best is that of `before` while nothing is faster.
ProgressPoint point_of(const Grid& grid, const ProgressPoint& before,
                       const std::set<std::uint64_t>& withdrawn) {
  const QdMetrics metrics = qd_metrics(grid);
  ProgressPoint point{.evaluations = before.evaluations,
                      .best = before.best,
                      .num_elites = metrics.num_elites,
                      .coverage = metrics.coverage,
                      .qd_score = metrics.qd_score,
                      .best_ordinal = before.best_ordinal};
  grid.for_each([&](const Elite& elite) {
    if (elite.fitness <= point.best || withdrawn.count(elite.ordinal) > 0) return;
    point.best = elite.fitness;
    point.best_ordinal = elite.ordinal;
  });
  return point;
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
  const std::set<std::uint64_t> withdrawn = withdrawn_ones(history);
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
    ProgressPoint now = point_of(grid, points.back(), withdrawn);
    if (!telling.is_seed) ++now.evaluations;
    if (telling.is_seed)
      points.back() = now;
    else
      points.push_back(now);
  }
  for (; next < history.size(); ++next) replay(grid, history[next]);
  points.back() = point_of(grid, points.back(), withdrawn);
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
