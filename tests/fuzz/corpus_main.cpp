// SPDX-License-Identifier: Apache-2.0
// Fuzzing without a fuzzer: all corpora, then a number of drawn mutants of each, the same everywhere.
//
//   corpus_fuzz CORPUS_FOLDER [MUTANTS [SEED [PARSER...]]]
//
// The last line is "N passed, 0 failed", N parsers. An input that ends it is a finding, and is kept in ./fuzz_finding.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/fuzzed_parser.h"
#include "tests/vgpu/ptx_mutator.h"

using kernelites::fuzz::FuzzedParser;
using kernelites::worker::vgpu::mutate_ptx;
using kernelites::worker::vgpu::MutationRandom;
namespace fs = std::filesystem;

namespace {

/// An input that takes longer is a finding.
constexpr unsigned k_input_s_max = 20;

// For the handler, which may be called anywhere.
const char* input_bytes = nullptr;
std::size_t input_size = 0;
const char* parser_name = "";

void keep_finding(int signal_number) {
  const int file = open("fuzz_finding", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  [[maybe_unused]] const auto kept = write(file, input_bytes, input_size);
  char text[160];
  const int size =
      std::snprintf(text, sizeof text, "%s: signal %d at an input of %zu bytes, kept in fuzz_finding\n",
                    parser_name, signal_number, input_size);
  [[maybe_unused]] const auto told = write(STDOUT_FILENO, text, static_cast<std::size_t>(size));
  _exit(1);
}

void run_input(const FuzzedParser& parser, const std::string& input) {
  input_bytes = input.data();
  input_size = std::min(input.size(), parser.bytes_max);
  alarm(k_input_s_max);
  parser.run({input_bytes, input_size});
  alarm(0);
}

std::vector<std::string> read_corpus(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<std::string> corpus;
  for (const fs::path& path : files) {
    std::ifstream file(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return corpus;
}

/// Words as often as bytes: what is refused at its first word shows little.
std::string mutant_of(const std::vector<std::string>& corpus, MutationRandom& random, std::size_t limit) {
  std::string text = corpus[random.below(corpus.size())];
  text.resize(std::min(text.size(), limit));
  for (std::size_t left = 1 + random.below(3); left > 0; --left) {
    if (random.below(2) == 0)
      text = mutate_ptx(std::move(text), corpus[random.below(corpus.size())], random, limit);
    else if (!text.empty())
      text[random.below(text.size())] =
          static_cast<char>(random.below(2) == 0 ? random() : 1u << random.below(8));
  }
  return text;
}

void run_parser(const FuzzedParser& parser, const fs::path& folder, long mutants, std::uint64_t seed) {
  parser_name = parser.name.data();
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<std::string> corpus = read_corpus(folder);
  if (corpus.empty()) throw kernelites::Error("no corpus in " + folder.string());
  for (const std::string& input : corpus) run_input(parser, input);
  MutationRandom random{seed};
  mutants /= parser.cost;
  for (long left = mutants; left > 0; --left) run_input(parser, mutant_of(corpus, random, parser.bytes_max));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  std::printf("%-12s %5zu inputs and %ld mutants in %.2f s\n", parser_name, corpus.size(), mutants,
              seconds.count());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "corpus_fuzz CORPUS_FOLDER [MUTANTS [SEED [PARSER...]]]\n"), 2;
  const long mutants = argc > 2 ? std::atol(argv[2]) : 0;
  const std::uint64_t seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
  for (const int number : {SIGSEGV, SIGABRT, SIGFPE, SIGILL, SIGALRM, SIGBUS}) signal(number, keep_finding);
  signal(SIGPIPE, SIG_IGN);
  int passed = 0;
  for (const FuzzedParser& parser : kernelites::fuzz::fuzzed_parsers()) {
    const auto is_named = [&](const char* name) { return parser.name == name; };
    if (argc > 4 && std::none_of(argv + 4, argv + argc, is_named)) continue;
    run_parser(parser, fs::path(argv[1]) / parser.name, mutants, seed);
    ++passed;
  }
  std::printf("%d passed, 0 failed\n", passed);
  return passed > 0 ? 0 : 1;
}
