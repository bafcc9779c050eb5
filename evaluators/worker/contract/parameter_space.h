// SPDX-License-Identifier: Apache-2.0
// Whether a kernel reaches the space of its parameters by their names alone.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "evaluators/worker/contract/ptx_text.h"

namespace kernelites::worker {

using PtxOperand = std::span<const PtxToken>;

/// One instruction: opcode, guard and operands, the latter split at top-level commas.
struct PtxInstruction {
  std::string_view opcode;
  std::string_view guard;
  std::vector<PtxOperand> operands;
};

/// Parameters that tokens `begin` to `end` declare, and their sizes: of a kernel in its signature, and in its body
/// those of calls.
std::map<std::string_view, std::int64_t> declared_parameters(const std::vector<PtxToken>& tokens,
                                                             std::size_t begin, std::size_t end);

/// Whether code reaches the space of parameters by numbers, which hold no parameter's name: an address that is
/// converted from a register must come from parameters' names in each of its definitions, and loads name what they
/// load. The opcode of an instruction that does not keep to it; empty if there is none.
std::string_view number_as_parameter(const std::vector<PtxInstruction>& instructions,
                                     const std::map<std::string_view, std::int64_t>& sizes);

}  // namespace kernelites::worker
