// SPDX-License-Identifier: Apache-2.0
// The grid's axes and their labels: what `examine` measures (evaluators) and what cells are made of (archive).
//
// Both sides read this one table, since neither may include the other. The worker measures a candidate on every axis;
// a grid is made of a few, by default those of the task's family. A new axis or label is a row here and the measurement
// in the worker that yields it. Labels are stored in cell names, names of axes in run configurations: append only, and
// the bins of an axis stay as they are (other bins are another axis).
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kernelites {

/// One axis: its name in `Descriptors` and its labels, in the order in which people expect effort to rise. A binned
/// axis measures a number, and label i holds what is at most edges[i], the last label the rest.
struct Axis {
  std::string_view name;
  std::span<const std::string_view> labels;
  std::span<const double> edges = {};  ///< ascending, one fewer than labels; empty: labels only
  std::string_view meaning = {};       ///< one line for people and prompts
};

/// How data moves from device memory to where it is used.
inline constexpr std::array<std::string_view, 4> k_movement_labels{"direct", "shared", "cp_async", "tma"};
/// What multiplies.
inline constexpr std::array<std::string_view, 3> k_compute_labels{"fma", "mma_sync", "wgmma"};
/// How work is divided over blocks and warps.
inline constexpr std::array<std::string_view, 4> k_split_labels{"tile", "split_kv", "persistent",
                                                                "specialised"};

/// The axes of runs that name none: 4 x 3 x 4 cells, slowest first.
inline constexpr std::array<Axis, 3> k_axes{{
    {"movement", k_movement_labels, {}, "how data moves from device memory to where it is used"},
    {"compute", k_compute_labels, {}, "what multiplies"},
    {"split", k_split_labels, {}, "how work is divided over blocks and warps"},
}};

/// Every axis that is measured, `k_axes` first.
std::span<const Axis> axis_table();
/// The row of this name; null if there is none.
const Axis* find_axis(std::string_view name);
/// The axis that has this label: no two axes share one, so that the name of a cell tells its axes. Null: none.
const Axis* axis_of_label(std::string_view label);
/// The axes of these names, in their order; `k_axes` if there are none. Throws Error that names what is unknown or
/// named twice, or if they make more than k_cells_max cells.
std::vector<Axis> axes_named(std::span<const std::string> names);
/// Cells of one grid.
inline constexpr std::size_t k_cells_max = 4096;

/// The axes that separate the kernels of a task family ("decode", "norm", ...), slowest first; those of `k_axes` for a
/// family that has no row.
std::vector<std::string> axis_names_of_family(std::string_view family);
std::vector<Axis> axes_of_family(std::string_view family);

/// The label of `value` on a binned axis. REQUIRES: edges.
std::string_view bin_label(const Axis& axis, double value);

}  // namespace kernelites
