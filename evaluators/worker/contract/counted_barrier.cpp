// SPDX-License-Identifier: Apache-2.0
// An opcode, and a comma before its semicolon.
#include "evaluators/worker/contract/counted_barrier.h"

#include <algorithm>
#include <string_view>

namespace kernelites::worker {
namespace {

/// `bar.warp.sync` is for lanes, `barrier.cluster` for whole blocks.
bool is_block_barrier(std::string_view opcode) {
  return (opcode.starts_with("bar.") && !opcode.starts_with("bar.warp.")) ||
         (opcode.starts_with("barrier.") && !opcode.starts_with("barrier.cluster."));
}

}  // namespace

bool has_counted_barrier(const std::vector<PtxToken>& tokens) {
  for (auto token = tokens.begin(); token != tokens.end(); ++token) {
    if (token->is_string || !is_block_barrier(token->text)) continue;
    const auto end =
        std::find_if(token, tokens.end(), [](const PtxToken& at) { return !at.is_string && at.text == ";"; });
    if (std::any_of(token, end, [](const PtxToken& at) { return !at.is_string && at.text == ","; }))
      return true;
  }
  return false;
}

}  // namespace kernelites::worker
