// SPDX-License-Identifier: Apache-2.0
// The grid's axes and their labels: what `examine` measures (evaluators) and what cells are made of
// (archive).
//
// Both sides read this one table, since neither may include the other. A new axis or label is a row here and
// the measurement in the worker that yields it. Labels are stored in cell names; append only.
#pragma once

#include <array>
#include <span>
#include <string_view>

namespace kernelites {

/// One axis: its name in `Descriptors` and its labels, in the order in which people expect effort to rise.
struct Axis {
  std::string_view name;
  std::span<const std::string_view> labels;
};

/// How data moves from device memory to where it is used.
inline constexpr std::array<std::string_view, 4> k_movement_labels{"direct", "shared", "cp_async", "tma"};
/// What multiplies.
inline constexpr std::array<std::string_view, 3> k_compute_labels{"fma", "mma_sync", "wgmma"};
/// How work is divided over blocks and warps.
inline constexpr std::array<std::string_view, 4> k_split_labels{"tile", "split_kv", "persistent",
                                                                "specialised"};

/// All axes, slowest first: 4 x 3 x 4 cells.
inline constexpr std::array<Axis, 3> k_axes{{
    {"movement", k_movement_labels},
    {"compute", k_compute_labels},
    {"split", k_split_labels},
}};

}  // namespace kernelites
