// SPDX-License-Identifier: Apache-2.0
// Who becomes a parent, which cell is aimed at and who inspires: pure functions of the grid and random numbers.
#include "engine/search/parent_policy.h"

#include <algorithm>

#include "engine/search/target_cell.h"

namespace kernelites {
namespace {

bool is_faster(const Elite& a, const Elite& b) {
  return a.fitness != b.fitness ? a.fitness > b.fitness : a.ordinal < b.ordinal;
}

std::vector<Elite> draw_inspirations(std::vector<Elite> others, int count, Rng& rng) {
  std::vector<Elite> chosen;
  std::sort(others.begin(), others.end(), is_faster);
  while (!others.empty() && static_cast<int>(chosen.size()) < count) {
    // The first is the best of the others, so that every prompt shows how fast other kinds can be.
    const std::size_t at = chosen.empty() ? 0 : rng.below(others.size());
    chosen.push_back(others[at]);
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(at));
  }
  std::sort(chosen.begin(), chosen.end(), is_faster);
  return chosen;
}

/// The elites that the operator can start from.
std::vector<Elite> possible_parents(const OperatorRow& row, const Grid& grid, const Choices& choices) {
  std::vector<Elite> elites = grid.elites();
  if (row.parent == ParentKind::tunable)
    std::erase_if(elites, [&](const Elite& elite) {
      return std::find(choices.tunable_elites.begin(), choices.tunable_elites.end(), elite.candidate_id) ==
             choices.tunable_elites.end();
    });
  return elites;
}

}  // namespace

bool has_parent(const OperatorRow& row, const Grid& grid, const Choices& choices) {
  switch (row.parent) {
    case ParentKind::tunable:
      return !choices.tunable_elites.empty();
    case ParentKind::failed:
      return !choices.failed.empty();
    case ParentKind::pair:
      return grid.elite_count() > 1;
    case ParentKind::improver:
      return false;  // nobody tells yet who they are
    case ParentKind::elite:
      break;
  }
  return grid.elite_count() > 0;
}

std::optional<Parents> choose_parents(const OperatorRow& row, const Grid& grid, const Choices& choices,
                                      const RunConfig& config, Rng& rng) {
  if (row.parent == ParentKind::failed) {
    if (choices.failed.empty()) return std::nullopt;
    std::string parent = choices.failed[rng.below(choices.failed.size())];
    return Parents{.parent_id = std::move(parent),
                   .cell = "",
                   .inspirations = draw_inspirations(grid.elites(), row.inspirations, rng)};
  }
  std::vector<Elite> possible = possible_parents(row, grid, choices);
  if (possible.empty()) return std::nullopt;
  if (choices.is_restarted && possible.size() > 1)
    possible.erase(std::min_element(possible.begin(), possible.end(), is_faster));
  if (!choices.target_cell.empty()) keep_nearest(possible, choices.target_cell);
  const bool is_greedy = rng.uniform() < config.greed && !choices.is_restarted;
  const Elite parent = is_greedy ? *std::min_element(possible.begin(), possible.end(), is_faster)
                                 : possible[rng.below(possible.size())];

  std::vector<Elite> others = grid.elites();
  std::erase_if(others, [&](const Elite& elite) { return elite.cell == parent.cell; });
  Parents parents{.parent_id = parent.candidate_id, .cell = parent.cell};
  if (row.parent == ParentKind::pair) {
    if (others.empty()) return std::nullopt;
    parents.second_parent_id = others[rng.below(others.size())].candidate_id;
  }
  if (!choices.target_cell.empty()) {
    parents.target_cell = choices.target_cell;
  } else if (row.wants_target_cell) {
    std::vector<std::string> cells = all_cells(grid.axes());
    std::erase(cells, parent.cell);
    parents.target_cell = cells[rng.below(cells.size())];
  }
  parents.inspirations = draw_inspirations(std::move(others), row.inspirations, rng);
  return parents;
}

}  // namespace kernelites
