// SPDX-License-Identifier: Apache-2.0
// What grows with a run, brought down to what a page can show: its curve, its failures by stage, its ancestry.
#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include "tools/inspect/run_facts.h"

namespace kernelites {
namespace {

/// Stages of an examination and of a duel in the order that a candidate meets them (docs/harness.md).
constexpr std::array<std::string_view, 12> k_stages{"plan",   "compile",  "screen",   "sanitize",
                                                    "smoke",  "probe",    "check",    "bench",
                                                    "stress", "memcheck", "counters", "time"};
constexpr std::string_view k_duplicate_code = "duplicate_code";

bool is_elite_outcome(const std::string& outcome) { return outcome == "added" || outcome == "improved"; }

void end_here(FunnelStep& step, std::string_view stage, std::string_view reason, std::int64_t count) {
  step.ended += count;
  step.reasons.push_back({std::string(stage), std::string(reason), count});
}

/// Takes who ended at `step` off those who still go on.
void close(std::vector<FunnelStep>& steps, FunnelStep step, std::int64_t& going) {
  if (going == 0) return;
  step.reached = going;
  going -= step.ended;
  std::stable_sort(step.reasons.begin(), step.reasons.end(),
                   [](const FailureCount& a, const FailureCount& b) { return a.count > b.count; });
  steps.push_back(std::move(step));
}

using Parents = std::map<std::uint64_t, std::optional<std::uint64_t>>;

/// Winners, roots and those from whom several lines go out; of all others a line's own nodes say nothing new.
std::set<std::uint64_t> telling_ones(const Parents& family, const std::set<std::uint64_t>& winners) {
  std::map<std::uint64_t, int> children;
  std::set<std::uint64_t> kept;
  for (const auto& [ordinal, parent] : family) {
    if (!parent || winners.contains(ordinal)) kept.insert(ordinal);
    if (parent) ++children[*parent];
  }
  for (const auto& [ordinal, count] : children)
    if (count > 1) kept.insert(ordinal);
  return kept;
}

}  // namespace

std::vector<FunnelStep> funnel_of(const BriefRows& brief) {
  FunnelStep reply{.step = "reply", .reasons = {}}, duplicate{.step = "duplicate", .reasons = {}};
  FunnelStep unfinished{.step = "unfinished", .reasons = {}}, place{.step = "placing", .reasons = {}};
  std::int64_t going = 0;
  for (const auto& [reason, count] : brief.rejections) end_here(reply, "reply", reason, count);
  going = reply.ended;
  for (const auto& [outcome, count] : brief.outcomes) {
    going += count;
    if (outcome == k_duplicate_code)
      end_here(duplicate, "compile", outcome, count);
    else if (outcome == "unfinished" || outcome == "evaluation_failed")
      end_here(unfinished, "", outcome, count);
    else if (outcome != "failed" && !is_elite_outcome(outcome))
      end_here(place, "", outcome, count);
  }
  std::map<std::string, FunnelStep> failed;
  for (const FailureCount& failure : brief.failures)
    end_here(failed[failure.stage], failure.stage, failure.reason, failure.count);

  std::vector<FunnelStep> steps;
  close(steps, std::move(reply), going);
  const auto close_stage = [&](const std::string& stage) {
    FunnelStep step = std::move(failed[stage]);
    failed.erase(stage);
    step.step = stage;
    close(steps, std::move(step), going);
  };
  for (const std::string_view stage : k_stages) {
    close_stage(std::string(stage));
    if (stage == "compile") close(steps, std::move(duplicate), going);
  }
  while (!failed.empty()) close_stage(std::string(failed.begin()->first));  // of other versions
  close(steps, std::move(unfinished), going);
  close(steps, std::move(place), going);
  close(steps, {.step = "elite", .reasons = {}}, going);
  return steps;
}

std::vector<ProgressPoint> thinned(const std::vector<ProgressPoint>& points, std::size_t count_max) {
  if (points.size() <= count_max) return points;
  std::set<std::size_t> bests, kept{points.size() - 1};
  for (std::size_t i = 1; i < points.size(); ++i)
    if (points[i].best != points[i - 1].best) bests.insert({i - 1, i});
  const std::size_t room = count_max / 2;
  for (std::size_t i = 0; i < room; ++i) kept.insert(i * (points.size() - 1) / room);
  std::size_t nth = 0;
  // A curve that changes everywhere is thinned evenly as well.
  const std::size_t every = std::max<std::size_t>(1, (bests.size() + room - 1) / room);
  for (const std::size_t at : bests)
    if (nth++ % every == 0) kept.insert(at);
  std::vector<ProgressPoint> left;
  for (const std::size_t at : kept) left.push_back(points[at]);
  return left;
}

std::vector<LineageNode> lineage_of(const std::vector<BriefCandidate>& candidates,
                                    const std::set<std::uint64_t>& winners, std::size_t count_max) {
  std::map<std::uint64_t, const BriefCandidate*> known;
  for (const BriefCandidate& candidate : candidates) known[candidate.ordinal] = &candidate;
  Parents family;
  for (std::optional<std::uint64_t> at : winners)
    for (; at && known.contains(*at) && !family.contains(*at); at = family.at(*at))
      family[*at] = known.at(*at)->parent;
  std::set<std::uint64_t> kept;
  if (family.size() > std::min(count_max, k_lineage_whole_max))
    kept = telling_ones(family, winners);
  else
    for (const auto& [ordinal, parent] : family) kept.insert(ordinal);
  // Still too many: the newest, whose ancestors then are roots of what is shown.
  while (kept.size() > count_max) kept.erase(kept.begin());
  std::vector<LineageNode> nodes;
  for (const std::uint64_t ordinal : kept) {
    LineageNode node{.ordinal = ordinal,
                     .parent = family.at(ordinal),
                     .operator_name = known.at(ordinal)->operator_name,
                     .outcome = known.at(ordinal)->outcome,
                     .over_parent = {}};
    while (node.parent && !kept.contains(*node.parent)) {
      node.parent = family.contains(*node.parent) ? family.at(*node.parent) : std::nullopt;
      ++node.skipped;
    }
    nodes.push_back(std::move(node));
  }
  return nodes;
}

}  // namespace kernelites
