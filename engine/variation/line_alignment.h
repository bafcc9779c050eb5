// SPDX-License-Identifier: Apache-2.0
// Which lines of a text are still there in another: the longest common subsequence of two lists of lines.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace kernelites {

/// Longer middles (lines times lines) are taken for one change: the table of the subsequence is their product.
inline constexpr std::size_t k_alignment_cells_max = 4'000'000;

/// Without line ends; a last line without one is a line too.
std::vector<std::string> text_lines(const std::string& text);

/// For each line of `a` the index of the line of `b` that it is, ascending, or none where it is gone.
std::vector<std::optional<std::size_t>> kept_lines(const std::vector<std::string>& a,
                                                   const std::vector<std::string>& b);

}  // namespace kernelites
