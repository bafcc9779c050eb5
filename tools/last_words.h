// SPDX-License-Identifier: Apache-2.0
// What a program says when it cannot even unwind any more.
#pragma once

namespace kernelites {

inline constexpr const char* k_out_of_memory_words =
    "kernelites: out of memory. What a run was told is kept: the same command goes on with it\n";

/// From now on std::terminate and abort say why on stderr, without allocating: want of memory (thrown by a destructor,
/// or no room for an exception) ends with exit code 3; everything else aborts, as it would have.
void install_last_words();

}  // namespace kernelites
