// SPDX-License-Identifier: Apache-2.0
// One pass over the tokens: which entries hold the instruction.
#include "evaluators/worker/contract/programmatic_wait.h"

#include <set>
#include <string_view>

namespace kernelites::worker {
namespace {

constexpr std::string_view k_wait = "griddepcontrol.wait";

/// Entries that wait; "" stands for any function.
std::set<std::string, std::less<>> waiting_entries(const std::vector<PtxToken>& tokens) {
  std::set<std::string, std::less<>> waiting;
  std::string_view entry;
  int depth = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].is_string) continue;
    const std::string_view text = tokens[i].text;
    if (depth == 0 && text == ".entry" && i + 1 < tokens.size()) entry = tokens[i + 1].text;
    if (depth == 0 && text == ".func") entry = {};
    if (text == "{") ++depth;
    if (text == "}") --depth;
    if (text == k_wait) waiting.emplace(entry);
  }
  return waiting;
}

}  // namespace

std::optional<std::string> find_unwaited_kernel(const CompiledCandidate& candidate,
                                                const std::vector<PtxToken>& tokens) {
  const auto waiting = waiting_entries(tokens);
  if (waiting.contains("")) return std::nullopt;
  for (const LaunchPlan& plan : candidate.plans) {
    for (const PlannedLaunch& launch : plan.launches) {
      if (!launch.is_programmatic) continue;
      const auto lowered = candidate.lowered.find(launch.kernel);
      const std::string& name = lowered == candidate.lowered.end() ? launch.kernel : lowered->second;
      if (!waiting.contains(name)) return launch.kernel;
    }
  }
  return std::nullopt;
}

}  // namespace kernelites::worker
