// SPDX-License-Identifier: Apache-2.0
// Fuzzes the virtual GPU with mutated PTX: built with clang's -fsanitize=fuzzer it is a libFuzzer target, else a loop.
//
//   vgpu_fuzz SECONDS [FIRST_SEED] FILE.ptx...      (the loop; it prints the seed of the mutant that it is about to run
//   only when a signal ends it, so that a crash can be repeated with "1 SEED")
//   vgpu_fuzz CORPUS_FOLDER -max_len=65536 ...      (libFuzzer)
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>

#include <unistd.h>

#include "tests/vgpu/ptx_mutator.h"

using namespace kernelites::worker::vgpu;

#ifdef KERNELITES_LIBFUZZER

extern "C" std::size_t LLVMFuzzerMutate(unsigned char* data, std::size_t size, std::size_t max_size);

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  run_mutant(text, std::hash<std::string_view>{}(text));
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomCrossOver(const unsigned char* first, std::size_t first_size,
                                                 const unsigned char* second, std::size_t second_size,
                                                 unsigned char* out, std::size_t max_size, unsigned seed) {
  MutationRandom random{seed};
  const std::string result =
      mutate_ptx({reinterpret_cast<const char*>(first), first_size},
                 {reinterpret_cast<const char*>(second), second_size}, random, max_size);
  std::memcpy(out, result.data(), result.size());
  return result.size();
}

extern "C" std::size_t LLVMFuzzerCustomMutator(unsigned char* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  MutationRandom random{seed};
  if (random.below(16) == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::string result = mutate_ptx(text, text, random, max_size);
  std::memcpy(data, result.data(), result.size());
  return result.size();
}

#else

namespace {

volatile unsigned long long current_seed = 0;

void report_seed(int signal) {
  char text[64];
  const int size = std::snprintf(text, sizeof text, "signal %d at seed %llu\n", signal, current_seed);
  [[maybe_unused]] const auto written = write(2, text, static_cast<std::size_t>(size));
  _exit(1);
}

std::string read_file(const char* name) {
  std::ifstream file(name);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return std::fprintf(stderr, "vgpu_fuzz SECONDS FIRST_SEED FILE.ptx...\n"), 2;
  const std::time_t end = std::time(nullptr) + std::atoi(argv[1]);
  std::vector<std::string> corpus;
  for (int k = 3; k < argc; ++k) {
    for (std::string& part : split_ptx(read_file(argv[k]))) corpus.push_back(std::move(part));
  }
  if (corpus.empty()) return std::fprintf(stderr, "no kernels in these files\n"), 2;
  for (const int signal : {SIGSEGV, SIGABRT, SIGFPE, SIGILL, SIGALRM, SIGBUS})
    std::signal(signal, report_seed);
  unsigned long long runs = 0, refused = 0;
  for (unsigned long long seed = std::strtoull(argv[2], nullptr, 10); std::time(nullptr) < end;
       ++seed, ++runs) {
    current_seed = seed;
    alarm(20);
    MutationRandom random{seed};
    std::string text = corpus[random.below(corpus.size())];
    const std::size_t rounds = 1 + random.below(3);
    for (std::size_t round = 0; round < rounds; ++round) {
      text = mutate_ptx(std::move(text), corpus[random.below(corpus.size())], random, 1u << 17);
    }
    refused += !run_mutant(text, seed);
  }
  std::printf("%llu mutants ran, %llu of them refused by the parser; no crash, no hang\n", runs, refused);
}

#endif
