// SPDX-License-Identifier: Apache-2.0
// How prompts evolve: when a prompt is rewritten, which of its versions, and which version goes. Pure functions.
#include "engine/search/prompt_population.h"

#include "engine/core/error.h"

namespace kernelites {
namespace {

/// The fittest (`sign` = 1) or least fit (-1) of those from `first` on that can be judged; null: none.
const PromptFigures* extreme(std::span<const PromptFigures> all, std::size_t first, double sign,
                             const PopulationSettings& settings) {
  const PromptFigures* chosen = nullptr;
  for (std::size_t i = first; i < all.size(); ++i) {
    if (all[i].variations < settings.variations_min) continue;
    if (chosen == nullptr || sign * prompt_fitness(all[i], all) > sign * prompt_fitness(*chosen, all))
      chosen = &all[i];
  }
  return chosen;
}

}  // namespace

double prompt_fitness(const PromptFigures& one, std::span<const PromptFigures> all) {
  double gain = 0, variations = 0;
  for (const PromptFigures& figures : all) {
    gain += figures.gain_bits;
    variations += static_cast<double>(figures.variations);
  }
  const double mean = variations > 0 ? gain / variations : 0;
  return (one.gain_bits + k_prior_variations * mean) /
         (static_cast<double>(one.variations) + k_prior_variations);
}

bool is_rewrite_due(std::span<const PromptFigures> all, std::int64_t variations, std::int64_t rewrites,
                    const PopulationSettings& settings) {
  if (settings.every <= 0 || variations < settings.every * (rewrites + 1)) return false;
  return all.size() < static_cast<std::size_t>(settings.versions_max) ||
         extreme(all, 1, -1, settings) != nullptr;
}

const std::string& version_to_rewrite(std::span<const PromptFigures> all,
                                      const PopulationSettings& settings) {
  KERNELITES_ASSERT(!all.empty());
  const PromptFigures* fittest = extreme(all, 0, 1, settings);
  return fittest != nullptr ? fittest->version : all.front().version;
}

std::optional<std::string> version_to_retire(std::span<const PromptFigures> all,
                                             const PopulationSettings& settings) {
  if (all.size() <= static_cast<std::size_t>(settings.versions_max)) return std::nullopt;
  const PromptFigures* least = extreme(all, 1, -1, settings);
  if (least == nullptr) return std::nullopt;
  return least->version;
}

}  // namespace kernelites
