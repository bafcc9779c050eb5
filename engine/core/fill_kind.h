// SPDX-License-Identifier: Apache-2.0
// The kinds of fills that a task may name and their parameters; docs/tasks.md defines what each one draws.
//
// One list for both sides: task parsing refuses what is not in it, and the worker's device code has one case
// per row.
#pragma once

#include <string_view>
#include <vector>

namespace kernelites {

/// A parameter of a fill and the value it has when the task does not state it.
struct FillParameter {
  std::string_view name;
  double fallback = 0;
};

/// One kind of fill.
struct FillKind {
  std::string_view name;
  std::vector<FillParameter> parameters;
  bool is_metadata = false;  ///< draws whole numbers for metadata tensors, and needs a bounding dim
};

/// All kinds, in the order of docs/tasks.md.
const std::vector<FillKind>& fill_kinds();
/// The kind of that name; nullptr if there is none.
const FillKind* find_fill_kind(std::string_view name);

}  // namespace kernelites
