// SPDX-License-Identifier: Apache-2.0
// CUDA source as the compiler's lexer sees it: what is code, and what is comment or literal.
//
// The text rules look for words, so they must agree with the compiler on where code is. Line splices are undone
// first, except in raw strings; literals have prefixes, numbers have digit separators, and a header's name is no
// literal. Where the compiler could see it another way, the text is refused instead of guessed at.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kernelites::worker {

/// The code of a source. Same length, same number of lines; what a splice joined stands on the first of its lines.
struct SourceText {
  std::string code;          ///< comments and the content of literals blanked; header names kept
  std::string_view problem;  ///< what is not clear about it, in words; empty: nothing
  std::size_t problem_at = 0;
};
SourceText read_source(std::string_view source);

}  // namespace kernelites::worker
