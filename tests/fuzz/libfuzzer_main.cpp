// SPDX-License-Identifier: Apache-2.0
// The libFuzzer side: which parser is fuzzed is the last argument, behind -ignore_remaining_args=1.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/fuzz/fuzzed_parser.h"
#include "tests/vgpu/ptx_mutator.h"

using kernelites::worker::vgpu::mutate_ptx;
using kernelites::worker::vgpu::MutationRandom;

namespace {

const kernelites::fuzz::FuzzedParser* parser = nullptr;

}  // namespace

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  parser = kernelites::fuzz::find_fuzzed_parser((*argv)[*argc - 1]);
  if (parser == nullptr) {
    std::fprintf(stderr, "usage: %s -ignore_remaining_args=1 ... PARSER\n", (*argv)[0]);
    std::exit(2);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size <= parser->bytes_max) parser->run({reinterpret_cast<const char*>(data), size});
  return 0;
}

// Half of the mutants are made of words, numbers and lines, not of bytes: what is refused at once shows little.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  MutationRandom random{seed};
  if (size == 0 || random.below(2) == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::string mutant = mutate_ptx(text, text, random, max_size);
  std::memcpy(data, mutant.data(), mutant.size());
  return mutant.size();
}
