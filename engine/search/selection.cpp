// SPDX-License-Identifier: Apache-2.0
// Who becomes a parent, who inspires, and which operator works: a pure function.
#include "engine/search/selection.h"

#include <algorithm>

#include "engine/variation/operator_table.h"

namespace kernelites {
namespace {

bool is_faster(const Elite& a, const Elite& b) {
  return a.fitness != b.fitness ? a.fitness > b.fitness : a.ordinal < b.ordinal;
}

const OperatorRow* draw_operator(const Choices& choices, const RunConfig& config, Rng& rng) {
  std::vector<double> weights;
  for (const OperatorRow& row : operator_table()) {
    const auto share = config.operators.find(std::string(row.name));
    const bool has_parent =
        row.parent == ParentKind::elite ||
        !(row.parent == ParentKind::tunable ? choices.tunable_elites : choices.failed).empty();
    const bool can_work = has_parent && (!row.needs_model || choices.has_model);
    weights.push_back(can_work && share != config.operators.end() ? share->second : 0.0);
  }
  if (std::none_of(weights.begin(), weights.end(), [](double weight) { return weight > 0; })) return nullptr;
  return &operator_table()[rng.weighted(weights)];
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

}  // namespace

std::optional<Selection> select(const Grid& grid, const Choices& choices, const RunConfig& config, Rng rng) {
  if (grid.elite_count() == 0) return std::nullopt;
  const OperatorRow* row = draw_operator(choices, config, rng);
  if (row == nullptr) return std::nullopt;

  if (row->parent == ParentKind::failed) {
    std::string parent = choices.failed[rng.below(choices.failed.size())];
    return Selection{std::string(row->name), std::move(parent), "",
                     draw_inspirations(grid.elites(), row->inspirations, rng)};
  }
  std::vector<Elite> parents = grid.elites();
  if (row->parent == ParentKind::tunable)
    std::erase_if(parents, [&](const Elite& elite) {
      return std::find(choices.tunable_elites.begin(), choices.tunable_elites.end(), elite.candidate_id) ==
             choices.tunable_elites.end();
    });
  if (parents.empty()) return std::nullopt;
  const bool is_greedy = rng.uniform() < config.greed;
  const Elite parent = is_greedy ? *std::min_element(parents.begin(), parents.end(), is_faster)
                                 : parents[rng.below(parents.size())];

  std::vector<Elite> others = grid.elites();
  std::erase_if(others, [&](const Elite& elite) { return elite.cell == parent.cell; });
  return Selection{std::string(row->name), parent.candidate_id, parent.cell,
                   draw_inspirations(std::move(others), row->inspirations, rng)};
}

}  // namespace kernelites
