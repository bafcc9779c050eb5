// SPDX-License-Identifier: Apache-2.0
// Two sources line by line: what stayed, what went, what came, comments included.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace kernelites {

/// One line of a comparison.
struct DiffLine {
  enum class Kind { same, removed, added };
  Kind kind = Kind::same;
  int old_line = 0;  ///< from 1; 0: it was not there
  int new_line = 0;  ///< from 1; 0: it is gone
  std::string text;
};

/// Both texts whole, in order; within a change what went stands before what came.
std::vector<DiffLine> source_diff(const std::string& before, const std::string& after);

/// A change with the unchanged lines around it: indices [begin, end) into the lines of a comparison.
struct DiffHunk {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// Changes with up to `context` unchanged lines on each side; those whose surroundings touch are one.
std::vector<DiffHunk> hunks_of(std::span<const DiffLine> lines, std::size_t context);

/// How many lines came or went.
int line_count(std::span<const DiffLine> lines, DiffLine::Kind kind);

}  // namespace kernelites
