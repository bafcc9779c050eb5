// SPDX-License-Identifier: Apache-2.0
// Whether PTX is plain enough that ptxas and our tokeniser must read it alike.
//
// Inline assembly puts the candidate's text into the PTX. Every rule of the screen reads our tokens, so text that the
// assembler could split otherwise (escapes, odd blanks, strings) is refused instead of interpreted.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "evaluators/worker/contract/ptx_text.h"

namespace kernelites::worker {

/// What is not plain in `ptx`, in words; empty if all is. REQUIRES: `tokens` are those of `ptx`.
std::optional<std::string> find_unplain_ptx(std::string_view ptx, std::span<const PtxToken> tokens);

}  // namespace kernelites::worker
