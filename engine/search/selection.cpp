// SPDX-License-Identifier: Apache-2.0
// What the next variation is: which operator works, from whom, and where to; a pure function.
#include "engine/search/selection.h"

#include <algorithm>

namespace kernelites {
namespace {

/// Those that can work now; each has an operator of the table.
std::vector<ArmWeight> working_arms(const Grid& grid, const Choices& choices, const RunConfig& config) {
  std::vector<ArmWeight> arms = choices.arms;
  if (arms.empty())
    arms = arm_weights(config.operators,
                       choices.has_model ? std::vector<std::string>{""} : std::vector<std::string>());
  std::erase_if(arms, [&](const ArmWeight& one) {
    return one.weight <= 0 || !has_parent(*find_operator(one.arm.operator_name), grid, choices);
  });
  return arms;
}

std::size_t draw_arm(const std::vector<ArmWeight>& arms, const Choices& choices, Rng& rng) {
  if (choices.bandit != nullptr) return choices.bandit->draw(arms, rng);
  return rng.weighted(weight_shares(arms));
}

}  // namespace

std::optional<Selection> select(const Grid& grid, const Choices& choices, const RunConfig& config, Rng rng) {
  if (grid.elite_count() == 0) return std::nullopt;
  const std::vector<ArmWeight> arms = working_arms(grid, choices, config);
  if (arms.empty()) return std::nullopt;
  const Arm& arm = arms[draw_arm(arms, choices, rng)].arm;
  auto parents = choose_parents(*find_operator(arm.operator_name), grid, choices, config, rng);
  if (!parents) return std::nullopt;
  return Selection{.operator_name = arm.operator_name,
                   .parents = std::move(*parents),
                   .endpoint = arm.endpoint,
                   .prompt_version = arm.prompt_version};
}

}  // namespace kernelites
