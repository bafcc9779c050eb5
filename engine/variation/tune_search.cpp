// SPDX-License-Identifier: Apache-2.0
// Which tuning of a source is tried next: a pure function of those that were.
#include "engine/variation/tune_search.h"

#include <algorithm>

namespace kernelites {
namespace {

constexpr std::size_t k_neighbours_max = 4096;
/// Share of the draws that aim at one workload.
constexpr double k_workload_share = 0.5;

/// The point's log speed-up at `workload`, or the weighted mean; nothing if it was not timed there.
std::optional<double> log_speedup_at(const TuneState& state, const TunedPoint& point,
                                     const std::string& workload) {
  double sum = 0, weights = 0;
  for (const auto& [name, weight] : state.weights) {
    if (!workload.empty() && name != workload) continue;
    const auto found = point.log_speedup.find(name);
    if (found == point.log_speedup.end()) return std::nullopt;
    const double share = workload.empty() ? weight : 1;
    sum += share * found->second;
    weights += share;
  }
  if (weights <= 0) return std::nullopt;
  return sum / weights;
}

std::string draw_objective(const TuneState& state, Rng& rng) {
  if (state.weights.size() < 2 || rng.uniform() >= k_workload_share) return "";
  auto workload = state.weights.begin();
  std::advance(workload, static_cast<std::ptrdiff_t>(rng.below(state.weights.size())));
  return workload->first;
}

Tuning fastest_at(const TuneState& state, const std::string& workload) {
  Tuning fastest = state.start;
  std::optional<double> most;
  for (const TunedPoint& point : state.tried) {
    const auto speed = point.is_passed ? log_speedup_at(state, point, workload) : std::nullopt;
    if (!speed || (most && *speed <= *most)) continue;
    most = speed;
    fastest = point.tuning;
  }
  return fastest;
}

std::vector<Tuning> untried(const TuneState& state, const Tuning& from, int changes) {
  std::vector<Tuning> choices = neighbours(state.tunables, from, changes, k_neighbours_max);
  std::erase_if(choices, [&](const Tuning& choice) {
    return !is_allowed(state.rules, choice) || (state.is_known && state.is_known(choice));
  });
  return choices;
}

std::optional<Tuning> best_neighbour(const TuneState& state, const Tuning& from, const std::string& workload,
                                     Rng& rng) {
  TuneModel model(state.tunables);
  for (const TunedPoint& point : state.tried) {
    model.add(point.tuning, point.is_passed);
    const auto speed = log_speedup_at(state, point, workload);
    if (point.is_passed && speed) model.add(point.tuning, *speed);
  }
  const TuneModel::Draw draw = model.draw(rng);
  for (const int changes : {1, 2}) {
    std::optional<Tuning> best;
    std::pair<bool, double> best_rank;
    for (Tuning& choice : untried(state, from, changes)) {
      // Whether it passes is drawn too: a pair of values that failed once is avoided, not forbidden.
      const std::pair<bool, double> rank{rng.uniform() < model.pass_probability(choice),
                                         model.log_speedup(draw, choice)};
      if (best && rank <= best_rank) continue;
      best_rank = rank;
      best = std::move(choice);
    }
    if (best) return best;
  }
  return std::nullopt;
}

}  // namespace

std::optional<TuneProposal> next_tuning(const TuneState& state, Rng& rng) {
  const std::string workload = draw_objective(state, rng);
  const Tuning from = workload.empty() ? state.start : fastest_at(state, workload);
  if (auto tuning = best_neighbour(state, from, workload, rng))
    return TuneProposal{std::move(*tuning), workload, from};
  if (auto tuning = best_neighbour(state, state.start, "", rng))
    return TuneProposal{std::move(*tuning), "", state.start};
  return std::nullopt;
}

}  // namespace kernelites
