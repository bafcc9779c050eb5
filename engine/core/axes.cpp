// SPDX-License-Identifier: Apache-2.0
// The table of axes, and which of them each task family's grid is made of.
#include "engine/core/axes.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"

namespace kernelites {
namespace {

using Labels = std::string_view;

constexpr std::array<Labels, 4> k_scope_labels{"thread", "warp", "block", "blocks"};
constexpr std::array<Labels, 4> k_occupancy_labels{"occ12", "occ25", "occ50", "occ100"};
constexpr std::array<double, 3> k_occupancy_edges{0.125, 0.25, 0.5};
constexpr std::array<Labels, 4> k_register_labels{"reg64", "reg128", "reg192", "reg255"};
constexpr std::array<double, 3> k_register_edges{64, 128, 192};
constexpr std::array<Labels, 4> k_access_labels{"access4", "access8", "access16", "bulk"};
constexpr std::array<double, 3> k_access_edges{4, 8, 16};
constexpr std::array<Labels, 4> k_intensity_labels{"flop1", "flop8", "flop64", "flop_more"};
constexpr std::array<double, 3> k_intensity_edges{1, 8, 64};

constexpr std::array<Axis, 8> k_axis_table{{
    k_axes[0],
    k_axes[1],
    k_axes[2],
    {"scope", k_scope_labels, {}, "who exchanges values: nobody, a warp, a block, several blocks"},
    {"occupancy", k_occupancy_labels, k_occupancy_edges,
     "share of a multiprocessor's warps that can be resident"},
    {"registers", k_register_labels, k_register_edges, "registers of a thread, of the kernel with most"},
    {"access", k_access_labels, k_access_edges,
     "bytes that one thread's widest access to device memory moves"},
    {"intensity", k_intensity_labels, k_intensity_edges,
     "floating-point operations per byte of device memory, every instruction of the code counted once"},
}};

/// What differs between kernels of a family is what its grid is about: on the measured landscapes (docs/landscapes.md)
/// the three axes of `k_axes` alone leave one or two cells for all strategies of a kernel.
struct FamilyAxes {
  std::string_view family;
  std::array<std::string_view, 4> names;  // empty: none
};
constexpr std::array<FamilyAxes, 11> k_families{{
    {"prefill", {"movement", "compute", "registers", "split"}},
    {"masked prefill", {"movement", "compute", "registers", "split"}},
    {"neighbourhood", {"movement", "compute", "registers", "split"}},
    {"backward", {"movement", "compute", "registers", "split"}},
    {"recurrent", {"movement", "compute", "registers", "split"}},
    {"decode", {"movement", "compute", "occupancy", "split"}},
    {"decode_compressed", {"movement", "compute", "occupancy", "split"}},
    {"selection", {"movement", "scope", "occupancy", "split"}},
    {"norm", {"movement", "scope", "occupancy"}},
    {"activation", {"movement", "scope", "occupancy"}},
    {"elementwise", {"movement", "scope", "occupancy"}},
}};

}  // namespace

std::span<const Axis> axis_table() { return k_axis_table; }

const Axis* find_axis(std::string_view name) {
  const auto found = std::find_if(k_axis_table.begin(), k_axis_table.end(),
                                  [&](const Axis& axis) { return axis.name == name; });
  return found == k_axis_table.end() ? nullptr : &*found;
}

const Axis* axis_of_label(std::string_view label) {
  for (const Axis& axis : k_axis_table)
    if (std::find(axis.labels.begin(), axis.labels.end(), label) != axis.labels.end()) return &axis;
  return nullptr;
}

std::vector<Axis> axes_named(std::span<const std::string> names) {
  if (names.empty()) return {k_axes.begin(), k_axes.end()};
  std::vector<Axis> axes;
  std::size_t cells = 1;
  for (const std::string& name : names) {
    const Axis* axis = find_axis(name);
    if (axis == nullptr) {
      std::string known;
      for (const Axis& row : k_axis_table) known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
      throw Error(fmt::format("there is no axis \"{}\"; known are {}", name, known));
    }
    if (std::any_of(axes.begin(), axes.end(), [&](const Axis& other) { return other.name == axis->name; }))
      throw Error(fmt::format("axis \"{}\" is named twice", name));
    cells *= axis->labels.size();
    if (cells > k_cells_max) throw Error(fmt::format("the axes make more than {} cells", k_cells_max));
    axes.push_back(*axis);
  }
  return axes;
}

std::vector<std::string> axis_names_of_family(std::string_view family) {
  std::vector<std::string> names;
  for (const FamilyAxes& row : k_families) {
    if (row.family != family) continue;
    for (std::string_view name : row.names)
      if (!name.empty()) names.emplace_back(name);
    return names;
  }
  for (const Axis& axis : k_axes) names.emplace_back(axis.name);
  return names;
}

std::vector<Axis> axes_of_family(std::string_view family) { return axes_named(axis_names_of_family(family)); }

std::string_view bin_label(const Axis& axis, double value) {
  KERNELITES_ASSERT(axis.labels.size() == axis.edges.size() + 1);
  std::size_t bin = 0;
  while (bin < axis.edges.size() && !(value <= axis.edges[bin])) ++bin;
  return axis.labels[bin];
}

}  // namespace kernelites
