// SPDX-License-Identifier: Apache-2.0
// Which input families meet which check shapes where every trial is dear: on the virtual GPU.
#pragma once

#include <cstddef>
#include <vector>

namespace kernelites::worker {

/// Families for every check shape, family 0 first. Every shape meets family 0 and another one, every family a shape
/// that may show what it is for: one of the larger three fifths, since a single key has no tail that could be dropped.
/// Further pairs follow, the cheapest shapes first, as long as there are fewer than k_virtual_check_pairs and their
/// work stays within k_virtual_check_flops. The family that has met the fewest shapes comes next; `first` says which of
/// equals begins. `flops`: the reference's work at each shape.
std::vector<std::vector<std::size_t>> choose_pairs(const std::vector<double>& flops, std::size_t families,
                                                   std::size_t first);

inline constexpr std::size_t k_virtual_check_pairs = 40;
/// About a second of the interpreter.
inline constexpr double k_virtual_check_flops = 60e6;

}  // namespace kernelites::worker
