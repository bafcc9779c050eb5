// SPDX-License-Identifier: Apache-2.0
// Words of PTX that no candidate may contain, and why.
//
// Allowed on purpose, and looked at elsewhere: %smid and %nsmid (persistent kernels ask for them; blocks are placed the
// same way in every launch, verified or timed), nanosleep (the watchdog ends what sleeps too long), trap (ends the
// evaluation with a fault), prefetches and cache policies (the flush before every launch undoes them).
#pragma once

#include <span>
#include <string_view>

#include "evaluators/worker/contract/ptx_text.h"

namespace kernelites::worker {

/// A register prefix ("%clock"), an instruction without its modifiers ("discard") or a directive (".alias").
struct ForbiddenPtx {
  std::string_view word, code, words;
};

/// The first forbidden word, or null. Points into a table.
const ForbiddenPtx* find_forbidden_ptx(std::span<const PtxToken> tokens);

}  // namespace kernelites::worker
