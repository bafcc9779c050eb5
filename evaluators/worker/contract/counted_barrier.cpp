// SPDX-License-Identifier: Apache-2.0
// An opcode, and as many commas before its semicolon as its operands have with a count.
#include "evaluators/worker/contract/counted_barrier.h"

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace kernelites::worker {
namespace {

/// Commas of a statement that names a count: `bar.sync ID, COUNT`, `bar.red.op D, ID, COUNT, P`. 0: no barrier of a
/// block (`bar.warp.sync` is for lanes, `barrier.cluster` for whole blocks).
std::ptrdiff_t commas_with_count(std::string_view opcode) {
  for (const std::string_view family : {"bar.", "barrier.", "barrier.cta.", "bar.cta."}) {
    if (!opcode.starts_with(family)) continue;
    const std::string_view rest = opcode.substr(family.size());
    if (rest.starts_with("sync") || rest.starts_with("arrive")) return 1;
    if (rest.starts_with("red")) return 3;
  }
  return 0;
}

}  // namespace

bool has_counted_barrier(const std::vector<PtxToken>& tokens) {
  for (auto token = tokens.begin(); token != tokens.end(); ++token) {
    const std::ptrdiff_t wanted = token->is_string ? 0 : commas_with_count(token->text);
    if (wanted == 0) continue;
    const auto end =
        std::find_if(token, tokens.end(), [](const PtxToken& at) { return !at.is_string && at.text == ";"; });
    const auto commas =
        std::count_if(token, end, [](const PtxToken& at) { return !at.is_string && at.text == ","; });
    if (commas >= wanted) return true;
  }
  return false;
}

}  // namespace kernelites::worker
