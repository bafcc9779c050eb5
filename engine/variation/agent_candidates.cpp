// SPDX-License-Identifier: Apache-2.0
// Labels and contents of an episode's kernels.
#include "engine/variation/agent_candidates.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/variation/reply_parser.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

/// Why the choice cannot be; empty if it can.
std::string tuning_problem(const Candidate& candidate) {
  const std::vector<Tunable> tunables = parse_tunables(candidate.source);
  for (const auto& [name, value] : candidate.tuning) {
    const auto tunable =
        std::find_if(tunables.begin(), tunables.end(),
                     [&name = name](const Tunable& declared) { return declared.name == name; });
    if (tunable == tunables.end())
      return fmt::format("the source declares no tunable {}", single_line(name, 40));
    if (std::find(tunable->values.begin(), tunable->values.end(), value) == tunable->values.end())
      return fmt::format("{} is not among the declared values of {}", value, name);
  }
  return "";
}

std::variant<std::string, Rejection> source_of(const ToolArguments& arguments, const Candidate& base) {
  std::variant<std::string, Rejection> text = base.source;
  if (arguments.source)
    text = *arguments.source;
  else if (!arguments.edits.empty())
    text = apply_edits(base.source, arguments.edits);
  if (std::holds_alternative<Rejection>(text)) return text;
  std::string source = with_unix_newlines(std::get<std::string>(text));
  if (source.size() > k_source_bytes_max)
    return Rejection{"source_too_long", fmt::format("the file has {} bytes, at most {} are allowed",
                                                    source.size(), k_source_bytes_max)};
  if (!is_clean_utf8(source)) return Rejection{"not_utf8", "the file is not plain UTF-8 text"};
  if (source.find("__global__") == std::string::npos)
    return Rejection{"no_kernel", "the file holds no __global__ kernel; send the whole file"};
  return source;
}

}  // namespace

AgentCandidates::AgentCandidates(const Specimen& parent) {
  all_.push_back({.label = "parent",
                  .base = "",
                  .candidate = parent.candidate,
                  .note = "",
                  .done = parent.duel ? InsideStep::time : InsideStep::check,
                  .specimen = parent});
}

std::optional<std::size_t> AgentCandidates::find(const std::string& label) const {
  for (std::size_t i = 0; i < all_.size(); ++i)
    if (all_[i].label == label) return i;
  return std::nullopt;
}

std::size_t AgentCandidates::add(Candidate candidate, std::string base, std::string note) {
  const std::string id = candidate_id(candidate);
  for (std::size_t i = 0; i < all_.size(); ++i)
    if (candidate_id(with_full_tuning(all_[i].candidate)) == id) return i;
  all_.push_back({.label = fmt::format("c{}", all_.size()),
                  .base = std::move(base),
                  .candidate = std::move(candidate),
                  .note = std::move(note),
                  .done = {},
                  .specimen = {}});
  return all_.size() - 1;
}

std::variant<std::size_t, Rejection> AgentCandidates::resolve(const ToolArguments& arguments) {
  const std::string& label = arguments.candidate.empty() ? arguments.base : arguments.candidate;
  const auto known = find(label);
  const bool needs_base = !arguments.source.has_value();
  if (!known && needs_base)
    return Rejection{"unknown_candidate",
                     fmt::format("there is no candidate \"{}\"; the newest is {}", label, all_.back().label)};
  if (!arguments.candidate.empty()) return *known;
  const Candidate& base = all_[known.value_or(0)].candidate;
  auto source = source_of(arguments, base);
  if (auto* rejection = std::get_if<Rejection>(&source)) return std::move(*rejection);
  Candidate candidate{.source = std::get<std::string>(std::move(source)), .tuning = {}};
  // A change of tunables alone keeps what was chosen for the base; a new source starts from its defaults.
  if (needs_base && arguments.edits.empty()) candidate.tuning = base.tuning;
  for (const auto& [name, value] : arguments.tuning) candidate.tuning[name] = value;
  if (const std::string problem = tuning_problem(candidate); !problem.empty())
    return Rejection{"unknown_tunable", problem};
  return add(with_full_tuning(std::move(candidate)), needs_base ? label : "", arguments.note);
}

std::optional<std::size_t> AgentCandidates::best() const {
  std::optional<std::size_t> fastest;
  std::optional<std::size_t> last_passed;
  for (std::size_t i = 1; i < all_.size(); ++i) {
    const AgentCandidate& one = all_[i];
    if (!one.done || !one.specimen.verdict.is_passed) continue;
    if (*one.done == InsideStep::check || *one.done == InsideStep::profile) last_passed = i;
    if (*one.done != InsideStep::time || one.specimen.speedup <= all_[0].specimen.speedup) continue;
    if (!fastest || one.specimen.speedup > all_[*fastest].specimen.speedup) fastest = i;
  }
  return fastest ? fastest : last_passed;
}

}  // namespace kernelites
