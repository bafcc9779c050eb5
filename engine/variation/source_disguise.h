// SPDX-License-Identifier: Apache-2.0
// A candidate's source without what could persuade its reader: no comments, no names of its own, no words in strings.
//
// CUDA C++ is cut into tokens (comments, ordinary and raw strings, characters, numbers, names, line splices). Names
// that the language, CUDA and the contract know stay; every other one becomes v1, v2, ... in the order of appearance,
// the same everywhere, in strings too. Words in strings that are no such name become "text"; assembly keeps its
// instructions and loses its comments. Lines keep their numbers.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace kernelites {

/// The source, disguised. `kept`: further names that stay (dims, scalars and tensors of the task). Never fails: text
/// that is no C++ comes out as some text without comments.
std::string disguised_source(std::string_view source, const std::set<std::string, std::less<>>& kept);

}  // namespace kernelites
