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

/// Who draws the values: the device (inputs), the host (metadata), or the task's own kernel (both).
enum class FillPlace { device, host, task };

/// One kind of fill.
struct FillKind {
  std::string_view name;
  std::vector<FillParameter> parameters;  ///< at most `k_fill_parameters_max`
  FillPlace place = FillPlace::device;
  bool has_bound = false;    ///< metadata: needs "of", a dim
  bool has_lengths = false;  ///< metadata: needs "lengths", a metadata tensor
};

inline constexpr std::size_t k_fill_parameters_max = 4;

/// All kinds, in the order of docs/tasks.md.
const std::vector<FillKind>& fill_kinds();
/// The kind of that name; nullptr if there is none.
const FillKind* find_fill_kind(std::string_view name);
/// Parameters that every kind drawn on the device has besides its own.
const std::vector<FillParameter>& fill_modifiers();

}  // namespace kernelites
