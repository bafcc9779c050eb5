// SPDX-License-Identifier: Apache-2.0
// Candidates for a parent, their scores, and what goes with the one that is chosen.
#include "engine/search/parent_policy.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "engine/search/target_cell.h"

namespace kernelites {
namespace {

/// Elites where the grid keeps them: copying all of them costs more than choosing.
using ElitePointers = std::vector<const Elite*>;

bool is_faster(const Elite* a, const Elite* b) {
  return a->fitness != b->fitness ? a->fitness > b->fitness : a->ordinal < b->ordinal;
}

ElitePointers all_elites(const Grid& grid) {
  ElitePointers elites;
  elites.reserve(grid.elite_count());
  grid.for_each([&](const Elite& elite) { elites.push_back(&elite); });
  return elites;
}

std::vector<Elite> draw_inspirations(ElitePointers others, int count, Rng& rng) {
  ElitePointers chosen;
  while (!others.empty() && static_cast<int>(chosen.size()) < count) {
    // The first is the best of the others, so that every prompt shows how fast other kinds can be.
    const auto at = chosen.empty() ? std::min_element(others.begin(), others.end(), is_faster)
                                   : others.begin() + static_cast<std::ptrdiff_t>(rng.below(others.size()));
    chosen.push_back(*at);
    others.erase(at);
  }
  std::sort(chosen.begin(), chosen.end(), is_faster);
  std::vector<Elite> copies;
  for (const Elite* elite : chosen) copies.push_back(*elite);
  return copies;
}

/// The elites that the operator can start from.
ElitePointers possible_elites(const OperatorRow& row, const Grid& grid, const Choices& choices) {
  ElitePointers elites = all_elites(grid);
  const auto keep = [&](const std::vector<std::string>& ids) {
    const std::unordered_set<std::string_view> kept(ids.begin(), ids.end());
    std::erase_if(elites, [&](const Elite* elite) { return !kept.contains(elite->candidate_id); });
  };
  if (row.parent == ParentKind::tunable) keep(choices.tunable_elites);
  if (row.parent == ParentKind::improver) keep(choices.improvers);
  if (!choices.target_cell.empty()) keep_nearest(elites, choices.target_cell);
  return elites;
}

/// Id and cell of a parent.
using Place = std::pair<std::string, std::string>;

/// The highest score; of equals the newest, which has had least time.
class Ranking {
 public:
  Ranking(const OperatorRow& row, const ParentPool& pool, double speed_scale)
      : pool_(pool), is_by_model_(row.needs_model), speed_scale_(speed_scale) {}

  /// False if nobody so fast or slower can be the best any more, however few children it has.
  bool consider(const std::string& id, const std::string& cell, std::uint64_t ordinal, double speedup) {
    const double bound = std::log(std::max(speedup, 1e-9)) / speed_scale_;
    if (!best_.first.empty() && bound < score_) return false;
    const double score = bound - std::log1p(pool_.children(id, is_by_model_));
    if (best_.first.empty() || score > score_ || (score == score_ && ordinal > ordinal_)) {
      best_ = {id, cell};
      score_ = score;
      ordinal_ = ordinal;
    }
    return true;
  }
  const Place& best() const { return best_; }

 private:
  const ParentPool& pool_;
  bool is_by_model_;
  double speed_scale_;
  Place best_;
  double score_ = 0;
  std::uint64_t ordinal_ = 0;
};

Place best_place(const OperatorRow& row, const ElitePointers& elites, const ParentPool& pool,
                 const RunConfig& config) {
  Ranking ranking(row, pool, config.speed_scale);
  for (const Elite* elite : elites) {
    const bool may_win = ranking.consider(elite->candidate_id, elite->cell, elite->ordinal, elite->speedup);
    if (row.parent != ParentKind::elite && row.parent != ParentKind::pair) continue;
    for (const Contender& contender : pool.contenders(elite->cell)) {
      if (contender.speedup < elite->speedup * (1 - config.softness)) break;  // the rest is slower still
      if (!may_win && contender.speedup <= elite->speedup) break;
      if (contender.candidate_id != elite->candidate_id &&
          !ranking.consider(contender.candidate_id, elite->cell, contender.ordinal, contender.speedup))
        break;
    }
  }
  return ranking.best();
}

/// REQUIRES: elites are not empty.
Place choose_place(const OperatorRow& row, const ElitePointers& elites, const Choices& choices,
                   const RunConfig& config, Rng& rng) {
  static const ParentPool k_nothing_known;
  const ParentPool& pool = choices.pool != nullptr ? *choices.pool : k_nothing_known;
  const Elite& fastest = **std::min_element(elites.begin(), elites.end(), is_faster);
  const bool takes_any = row.parent == ParentKind::elite;
  switch (strategy_of_name(config.strategy).value_or(Strategy::map_elites)) {
    case Strategy::best_of_n:
      if (takes_any && !choices.baseline_id.empty()) return {choices.baseline_id, ""};
      return {fastest.candidate_id, fastest.cell};
    case Strategy::hill_climb:
      return {fastest.candidate_id, fastest.cell};
    case Strategy::random:
      if (takes_any && !pool.timed().empty()) return {pool.timed()[rng.below(pool.timed().size())], ""};
      break;
    case Strategy::map_elites:
      return best_place(row, elites, pool, config);
  }
  const Elite& drawn = *elites[rng.below(elites.size())];
  return {drawn.candidate_id, drawn.cell};
}

/// An empty cell beside the parent's; if there is none, any other one.
std::string draw_target(const Grid& grid, const std::string& parent_cell, Rng& rng) {
  std::vector<std::string> cells = grid.cells();
  std::erase(cells, parent_cell);
  std::vector<std::string> beside;
  for (const std::string& cell : cells)
    if (grid.find(cell) == nullptr && cell_distance(cell, parent_cell) == 1) beside.push_back(cell);
  const std::vector<std::string>& from = beside.empty() ? cells : beside;
  return from.empty() ? "" : from[rng.below(from.size())];
}

}  // namespace

std::optional<Strategy> strategy_of_name(std::string_view name) {
  const auto found = std::find(k_strategies.begin(), k_strategies.end(), name);
  if (found == k_strategies.end()) return std::nullopt;
  return static_cast<Strategy>(found - k_strategies.begin());
}

bool has_parent(const OperatorRow& row, const Grid& grid, const Choices& choices) {
  switch (row.parent) {
    case ParentKind::tunable:
      return !choices.tunable_elites.empty();
    case ParentKind::failed:
      return !choices.failed.empty();
    case ParentKind::pair:
      return grid.elite_count() > 1;
    case ParentKind::improver:
      return !choices.improvers.empty();
    case ParentKind::elite:
      break;
  }
  return grid.elite_count() > 0;
}

std::optional<Parents> choose_parents(const OperatorRow& row, const Grid& grid, const Choices& choices,
                                      const RunConfig& config, Rng& rng) {
  const bool is_control = strategy_of_name(config.strategy) != Strategy::map_elites;
  const int inspirations = is_control ? 0 : row.inspirations;
  if (row.parent == ParentKind::failed) {
    if (choices.failed.empty()) return std::nullopt;
    std::string parent = choices.failed[rng.below(choices.failed.size())];
    return Parents{.parent_id = std::move(parent),
                   .cell = "",
                   .inspirations = draw_inspirations(all_elites(grid), inspirations, rng)};
  }
  const ElitePointers elites = possible_elites(row, grid, choices);
  if (elites.empty()) return std::nullopt;
  Parents parents;
  std::tie(parents.parent_id, parents.cell) = choose_place(row, elites, choices, config, rng);

  ElitePointers others = all_elites(grid);
  std::erase_if(others, [&](const Elite* elite) {
    return elite->cell == parents.cell || elite->candidate_id == parents.parent_id;
  });
  if (row.parent == ParentKind::pair) {
    if (others.empty()) return std::nullopt;
    parents.second_parent_id = others[rng.below(others.size())]->candidate_id;
  }
  if (!choices.target_cell.empty())
    parents.target_cell = choices.target_cell;
  else if (row.wants_target_cell)
    parents.target_cell = draw_target(grid, parents.cell, rng);
  parents.inspirations = draw_inspirations(std::move(others), inspirations, rng);
  return parents;
}

}  // namespace kernelites
