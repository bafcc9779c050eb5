// SPDX-License-Identifier: Apache-2.0
// PTX as a token stream: entries with their parameters, variables, opcodes, special registers.
//
// Tokens are words (opcodes with their dotted suffixes, directives, identifiers, registers, numbers), strings
// and single characters; comments are dropped. The grammar matters only where something is declared: whatever
// may not occur at all is looked for among all tokens, so that no arrangement of the text hides it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "evaluators/worker/contract/compiled_candidate.h"

namespace kernelites::worker {

struct PtxToken {
  std::string_view text;   ///< borrowed from the PTX
  bool is_string = false;  ///< a quoted text, without its quotes
  bool begins_line = false;
};

/// All tokens of `ptx`, which must outlive them. A string ends at the next quote: PTX has no escapes.
std::vector<PtxToken> tokenize_ptx(std::string_view ptx);

/// `.entry` with what is declared of it.
struct PtxEntry {
  std::string name;
  KernelSignature signature;  ///< `lowered` is `name`
};

/// A variable in `.global` or `.const` space.
struct PtxVariable {
  std::string name;
  std::int64_t bytes = 0;
  bool is_constant = false;  ///< .const
  bool has_initialiser = false;
  bool is_external = false;
  bool is_managed = false;     ///< .attribute(.managed)
  bool is_referenced = false;  ///< named anywhere else in the module
};

/// What a module declares and uses.
struct PtxModule {
  std::vector<PtxEntry> entries;
  std::vector<PtxVariable> variables;
  std::vector<std::string> external_functions;
};
PtxModule parse_ptx(const std::vector<PtxToken>& tokens);

/// Size in bytes of a PTX type without its dot ("u64", "b8"); 0: not a type.
std::int64_t ptx_type_bytes(std::string_view type);

}  // namespace kernelites::worker
