// SPDX-License-Identifier: Apache-2.0
// What is fuzzed: one function per parser that meets text from elsewhere (docs/fuzzing.md).
#pragma once

#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>

#include "engine/core/error.h"

namespace kernelites::fuzz {

/// A row of the table. `run` returns for every input; any other way out of it is a finding.
struct FuzzedParser {
  std::string_view name;  ///< of its folder under corpus/
  void (*run)(std::string_view input);
  std::size_t bytes_max;  ///< of an input; longer ones are cut
  long cost = 1;          ///< corpus_fuzz runs so many times fewer mutants
};

std::span<const FuzzedParser> fuzzed_parsers();
/// nullptr: there is none of that name.
const FuzzedParser* find_fuzzed_parser(std::string_view name);

/// Ends the process with a finding unless `holds`.
inline void demand(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "finding: does not hold: %s\n", what);
  std::abort();
}

/// Calls a parser whose contract allows Error and nothing else. False: it threw one.
template <typename Parse>
bool is_taken(Parse parse) {
  try {
    parse();
    return true;
  } catch (const Error&) {
    return false;
  }
}

void fuzz_agent(std::string_view input);
void fuzz_channel(std::string_view input);
void fuzz_config(std::string_view input);
void fuzz_cubin(std::string_view input);
void fuzz_env(std::string_view input);
void fuzz_flashinfer(std::string_view input);
void fuzz_nsight(std::string_view input);
void fuzz_object(std::string_view input);
void fuzz_protocol(std::string_view input);
void fuzz_ptx(std::string_view input);
void fuzz_reply(std::string_view input);
void fuzz_run_db(std::string_view input);
void fuzz_source(std::string_view input);
void fuzz_spool(std::string_view input);
void fuzz_stream(std::string_view input);
void fuzz_task(std::string_view input);
void fuzz_trace(std::string_view input);
void fuzz_vgpu(std::string_view input);

}  // namespace kernelites::fuzz
