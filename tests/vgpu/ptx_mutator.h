// SPDX-License-Identifier: Apache-2.0
// Grows broken PTX from good PTX: tokens, opcode parts, numbers and lines are exchanged, doubled, lost and cut off.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kernelites::worker::vgpu {

/// A small random source (splitmix64): the same seed gives the same mutant everywhere.
struct MutationRandom {
  std::uint64_t state;

  std::uint64_t operator()() {
    state += 0x9e3779b97f4a7c15ull;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t limit) { return limit == 0 ? 0 : (*this)() % limit; }
};

/// One to four mutations of `text`; what is spliced in comes from `text` or `other`.
/// ENSURES: at most `limit` bytes.
std::string mutate_ptx(std::string text, std::string_view other, MutationRandom& random, std::size_t limit);

/// Splits a PTX file into texts with one function each, module variables and the header repeated: small inputs for a
/// fuzzer. Kernels whose callees are lost parse to unknown calls.
std::vector<std::string> split_ptx(std::string_view text);

/// Parses `text` and runs all its kernels on small tensors with all checks on; what a launch does follows from `seed`.
/// Returns false if the text was refused with an Error; any other way out of here is a bug of the virtual GPU.
bool run_mutant(std::string_view text, std::uint64_t seed);

}  // namespace kernelites::worker::vgpu
