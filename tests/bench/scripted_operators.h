// SPDX-License-Identifier: Apache-2.0
// What a scripted model makes of each operator's prompt in a frozen landscape: the assumptions of their ablation.
#pragma once

#include <string_view>

#include "engine/search/selection.h"
#include "tests/bench/search_world.h"

namespace kernelites {

/// An edit as the operator of `selection` asks for it. Replies without code, broken, cheating and unchanged ones come
/// at the rates of `rates` whoever asks; of the others
///   edit       changes one tunable, never a strategy
///   crossover  takes every tunable from one of the two parents, by a coin
///   target     has four ideas and tries the one whose cell is nearest to the one aimed at
///   repair     has four ideas, changes of what failed, and tries the first that passes, if any
///   port       knows as much of times as others (`insight`), but at one workload: where the parent lags most behind
/// and everything else is a move or a jump, as `scripted_edit` draws them.
ScriptedEdit operator_edit(const SearchWorld& world, const Selection& selection, const EditRates& rates,
                           Rng& rng);

/// The one of four edits whose cell is nearest to `cell`.
ScriptedEdit edit_towards(const SearchWorld& world, const std::string& parent_id, const std::string& cell,
                          const EditRates& rates, Rng& rng);

}  // namespace kernelites
