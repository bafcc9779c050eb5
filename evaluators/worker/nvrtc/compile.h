// SPDX-License-Identifier: Apache-2.0
// One NVRTC compile as values: input, output, their encoding for the jailed child, and the compile itself.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"
#include "evaluators/worker/contract/problem_source.h"
#include "evaluators/worker/nvrtc/nvrtc_library.h"

namespace kernelites::worker {

struct CompileInput {
  std::string source;
  std::string file_name = std::string(k_candidate_file);
  std::vector<HeaderText> headers;
  std::vector<std::string> options;
  std::vector<std::string> name_expressions;
  bool ptx_only = false;
  bool operator==(const CompileInput&) const = default;
};

struct CompileOutput {
  bool ok = false;
  std::string failure;  ///< "" when ok, else compile_error, compiler_crash, compile_deadline, ...
  std::string log;      ///< as NVRTC wrote it: not yet fit for a prompt
  std::string ptx;
  std::vector<std::byte> cubin;  ///< empty when ptx_only
  std::map<std::string, std::string> lowered_names;
  double ms = 0;
  bool operator==(const CompileOutput&) const = default;
};

/// Outputs above this are refused (`output_too_large`): a bomb, not a kernel.
inline constexpr std::size_t k_ptx_bytes_max = std::size_t{16} << 20;
inline constexpr std::size_t k_log_bytes_max = std::size_t{256} << 10;

/// Every way to fail besides `compile_error`, and what is said of it.
struct CompileFailure {
  std::string_view code, words;
};
inline constexpr CompileFailure k_compile_failures[] = {
    {"compile_deadline",
     "the compiler was still running at its deadline and was stopped: simplify templates, macros and "
     "unrolling"},
    {"compiler_out_of_memory", "the compiler ran out of memory: simplify templates, macros and unrolling"},
    {"compiler_crash", "the compiler crashed on this source"},
    {"compiler_failed", "the compiler gave up on this source without naming an error"},
    {"output_too_large", "the compiled code is too large"},
    {"bad_output", "the compiler's answer makes no sense"},
};
/// The words of a failure; of an unknown one those of `bad_output`.
std::string_view words_of_failure(std::string_view code);

/// Compiles in this process. Never throws for what the source does.
CompileOutput compile_in_process(const NvrtcLibrary& nvrtc, const CompileInput& input);

/// Input as a message body. REQUIRES: texts are UTF-8.
Json encode(const CompileInput& input);
CompileInput decode_compile_input(const Json& json);
/// Output as a message: the body names sizes, `payload` carries log, PTX and cubin, whose bytes may be
/// anything.
Json encode(const CompileOutput& output, std::vector<std::byte>& payload);
/// The child may have been taken over: what makes no sense or is too large becomes the failure `bad_output`.
CompileOutput decode_compile_output(const Json& json, std::span<const std::byte> payload);

}  // namespace kernelites::worker
