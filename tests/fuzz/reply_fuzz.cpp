// SPDX-License-Identifier: Apache-2.0
// What models answer: kernels, edits, diffs, JSON, opinions, and a reply that was cut off.
#include <algorithm>

#include "engine/llm/utf8_text.h"
#include "engine/variation/judge.h"
#include "engine/variation/reply_parser.h"
#include "tests/fuzz/fuzzed_parser.h"

namespace kernelites::fuzz {
namespace {

const Candidate k_parent{
    .source =
        "// tune: BM = 16 | 32\n__global__ void scale(float* y, const float* x, int n) {\n"
        "  const int i = blockIdx.x * blockDim.x + threadIdx.x;\n  if (i < n) {\n"
        "    y[i] = 2 * x[i];\n  }\n}\n\nconstexpr Plan plan(Problem p) {\n  return {};\n}\n",
    .tuning = {{"BM", 16}}};

void check_outcome(const std::variant<Proposal, Rejection>& outcome) {
  if (const auto* rejection = std::get_if<Rejection>(&outcome)) {
    demand(!rejection->reason.empty() && rejection->reason.size() <= 64,
           "a rejection has a reason from a table");
    return;
  }
  const Proposal& proposal = std::get<Proposal>(outcome);
  demand(!proposal.candidate.source.empty(), "a proposal has a source");
  demand(proposal.summary.size() <= k_summary_bytes_max, "a summary is short");
  demand(std::none_of(proposal.summary.begin(), proposal.summary.end(),
                      [](unsigned char c) { return c < 32 || c == 127; }),
         "a summary is one line without control characters");
}

}  // namespace

void fuzz_reply(std::string_view input) {
  const auto whole = parse_reply(input, k_parent);
  check_outcome(whole);
  if (const auto* rejection = std::get_if<Rejection>(&whole)) is_cut_off(*rejection);
  const std::size_t seam = input.size() / 2;
  check_outcome(parse_reply(join_cut_reply(input.substr(0, seam), input.substr(seam)), k_parent));
  if (const auto opinion = parse_opinion(input, 100)) {
    demand(opinion->is_flagged == !opinion->lines.empty(), "an opinion flags lines, or nothing");
    demand(std::count(k_judge_reasons.begin(), k_judge_reasons.end(), opinion->reason) == 1,
           "a reason of the list");
  }
}

}  // namespace kernelites::fuzz
