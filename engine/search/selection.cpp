// SPDX-License-Identifier: Apache-2.0
// What the next variation is: which operator works, from whom, and where to; a pure function.
#include "engine/search/selection.h"

#include <algorithm>

namespace kernelites {
namespace {

const OperatorRow* draw_operator(const Grid& grid, const Choices& choices, const RunConfig& config,
                                 Rng& rng) {
  std::vector<double> weights;
  for (const OperatorRow& row : operator_table()) {
    const auto share = config.operators.find(std::string(row.name));
    const bool can_work = has_parent(row, grid, choices) && (!row.needs_model || choices.has_model);
    weights.push_back(can_work && share != config.operators.end() ? share->second : 0.0);
  }
  if (std::none_of(weights.begin(), weights.end(), [](double weight) { return weight > 0; })) return nullptr;
  return &operator_table()[rng.weighted(weights)];
}

}  // namespace

std::optional<Selection> select(const Grid& grid, const Choices& choices, const RunConfig& config, Rng rng) {
  if (grid.elite_count() == 0) return std::nullopt;
  const OperatorRow* row = draw_operator(grid, choices, config, rng);
  if (row == nullptr) return std::nullopt;
  auto parents = choose_parents(*row, grid, choices, config, rng);
  if (!parents) return std::nullopt;
  return Selection{std::string(row->name), std::move(*parents)};
}

}  // namespace kernelites
