// SPDX-License-Identifier: Apache-2.0
// How prompts evolve: when a prompt is rewritten, which of its versions, and which version goes. Pure functions.
//
// A version is worth the mean gain of the variations under it, drawn towards the operator's mean as if it had had
// `k_prior_variations` of that: the maximum of what came of a prompt (KernelFoundry's measure) rewards those that were
// tried often. The files' own text always stays, so that what evolves is compared with it.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "engine/variation/prompt_study.h"

namespace kernelites {

struct PopulationSettings {
  int every = 0;           ///< variations of an operator between two rewrites of its prompt; 0: prompts stay
  int versions_max = 5;    ///< of one operator that are in use, the files' own with them
  int variations_min = 8;  ///< under a version before it can be judged
  bool operator==(const PopulationSettings&) const = default;
};

inline constexpr double k_prior_variations = 8;

/// Mean gain in bits per variation of `one` among `all` versions of its operator, as said above.
double prompt_fitness(const PromptFigures& one, std::span<const PromptFigures> all);

/// True if the operator's prompt is to be rewritten now, after `rewrites` that were begun: enough variations are over,
/// and there is room, or a version that can go. `all`: the versions in use, the files' own first.
bool is_rewrite_due(std::span<const PromptFigures> all, std::int64_t variations, std::int64_t rewrites,
                    const PopulationSettings& settings);
/// The version that is rewritten: the fittest of those that can be judged; the first if none can. REQUIRES: not empty.
const std::string& version_to_rewrite(std::span<const PromptFigures> all, const PopulationSettings& settings);
/// The version that goes when `all` are too many: the least fit of those that can be judged, never the first.
std::optional<std::string> version_to_retire(std::span<const PromptFigures> all,
                                             const PopulationSettings& settings);

}  // namespace kernelites
