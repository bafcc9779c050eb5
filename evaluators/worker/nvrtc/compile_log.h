// SPDX-License-Identifier: Apache-2.0
// Compiler logs made fit for prompts and tables: no quoted files, the candidate's own lines, ptxas figures.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/verdict.h"

namespace kernelites::worker {

inline constexpr std::size_t k_clean_log_bytes_max = 4096;

/// One message of the compiler.
struct CompilerMessage {
  bool is_error = false;
  bool is_in_suffix = false;    ///< at the harness's table of plans: the plan itself could not be evaluated
  bool is_kernel_name = false;  ///< about a kernel name that the plan gave
  int line = 0;                 ///< in the candidate; 0: elsewhere
  std::string text;             ///< without file names; what it says of other files' content is dropped
};

/// Messages in order; an error of the plan's evaluation takes place and words of the note that explains it.
/// Lines that quote source are dropped: a quoted line could be any file's.
std::vector<CompilerMessage> read_messages(std::string_view log);

/// The log for people and models: messages with the candidate's own text of their lines, at most 4 KB.
std::string clean_log(std::string_view log, std::string_view source);

/// Errors as diagnostics of code `code`, at most 16.
std::vector<Diagnostic> error_diagnostics(const std::vector<CompilerMessage>& messages,
                                          const std::string& code);

/// What ptxas -v says of spills, by lowered kernel name. Advice only: the text is the candidate's to forge.
struct SpillFigures {
  int store_bytes = 0;
  int load_bytes = 0;
};
std::map<std::string, SpillFigures> read_spills(std::string_view log);
/// "Potential Performance Loss" lines of ptxas, each once.
std::vector<std::string> read_advisories(std::string_view log);
/// PTX lines that ptxas complains about ("ptxas application ptx input, line 41; error : ..."), with its
/// words.
struct PtxComplaint {
  int ptx_line = 0;
  std::string text;
};
std::vector<PtxComplaint> read_ptx_complaints(std::string_view log);
/// The candidate's line from which line `ptx_line` of `ptx` was made, by the .loc directives; 0: unknown.
int source_line_of(std::string_view ptx, int ptx_line);

}  // namespace kernelites::worker
