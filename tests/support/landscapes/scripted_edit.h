// SPDX-License-Identifier: Apache-2.0
// What a model would make of a parent, in a frozen landscape: good, neutral, broken and cheating edits at given rates.
#pragma once

#include <cstddef>

#include "engine/core/rng.h"
#include "engine/core/verdict.h"
#include "tests/support/landscapes/landscape.h"

namespace kernelites {

/// Shares of edits by what they do; the rest are moves to a neighbouring tuning. In the measured landscapes the
/// defaults let 60 to 75 % of the edits pass: between single attempts of a strong model (44 %) and its agent (97 %;
/// Makora, arXiv 2602.11000).
struct EditRates {
  double no_code = 0.03;  ///< the reply holds no candidate
  double broken = 0.15;   ///< does not compile
  double cheat = 0.04;    ///< refused at the stages where the exploit corpus is
  double same = 0.08;     ///< other text, the same code
  double jump = 0.10;     ///< another strategy (the first tunable), all other tunables drawn anew
  double further = 0.3;   ///< of a move: that it changes one more tunable, again and again
  double insight = 0.2;   ///< of a move: that it is the faster one of two
};

enum class EditKind { no_code, broken, cheat, same, jump, move };

/// One edit and what an evaluation of it says.
struct ScriptedEdit {
  EditKind kind = EditKind::no_code;
  std::size_t point = 0;  ///< whose code and times it has; the parent for what is not in the landscape
  Verdict
      verdict;  ///< passed only for `same`, `jump` and `move`, as their point did; of no meaning for `no_code`
};

/// An edit of `parent`. Draws from `rng` only.
ScriptedEdit scripted_edit(const Landscape& landscape, std::size_t parent, const EditRates& rates, Rng& rng);

}  // namespace kernelites
