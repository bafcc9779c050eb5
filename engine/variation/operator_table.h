// SPDX-License-Identifier: Apache-2.0
// The operators by name: adding one is a file and a row.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "engine/variation/operator.h"
#include "engine/variation/prompt_library.h"

namespace kernelites {

/// Which candidates an operator starts from.
enum class ParentKind {
  elite,    ///< any elite
  tunable,  ///< an elite whose tunables are not known to be exhausted
  failed,   ///< a candidate that failed and that nobody has tried to mend yet
  pair,     ///< two elites of different cells; the first is the one that is changed
  improver  ///< an elite that was measured faster than its own parent
};

/// One row of the table.
struct OperatorRow {
  std::string_view name;
  bool needs_model = false;
  ParentKind parent = ParentKind::elite;
  int inspirations = 0;                ///< elites of other cells that it looks at
  bool wants_target_cell = false;      ///< needs VariationInput::target_cell, a cell that is not the parent's
  bool wants_target_workload = false;  ///< needs VariationInput::target_workload
  bool is_scheduled = false;           ///< works when it is due, never by a share of its own
  bool evaluates_inside = false;       ///< asks for inner evaluations (EvaluateInside)
  std::unique_ptr<Operator> (*make)(const OperatorRow& row, VariationInput input,
                                    const PromptLibrary& library, Rng rng) = nullptr;
};

std::span<const OperatorRow> operator_table();
/// The row of that name; nullptr if there is none.
const OperatorRow* find_operator(std::string_view name);

}  // namespace kernelites
