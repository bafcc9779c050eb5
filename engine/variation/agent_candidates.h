// SPDX-License-Identifier: Apache-2.0
// The kernels of one agent's episode, by label: the parent, then c1, c2, ... in the order in which they were made.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/variation/agent_tools.h"
#include "engine/variation/operator.h"

namespace kernelites {

/// One kernel and how far it was evaluated.
struct AgentCandidate {
  std::string label;
  std::string base;  ///< label of what it was made from; empty: from nothing
  Candidate candidate;
  std::string note;
  std::optional<InsideStep> done;  ///< the furthest step that was answered
  Specimen specimen;               ///< what it found
};

class AgentCandidates {
 public:
  explicit AgentCandidates(const Specimen& parent);

  /// Index of the kernel that the arguments name or make. A kernel that is known by content keeps its label.
  /// Rejections: unknown_candidate, unknown_tunable, and those of apply_edits and of a reply's file.
  std::variant<std::size_t, Rejection> resolve(const ToolArguments& arguments);

  AgentCandidate& at(std::size_t index) { return all_.at(index); }
  const AgentCandidate& at(std::size_t index) const { return all_.at(index); }
  /// What the agent should have submitted: the fastest that was timed and beats the parent, else the last that passed
  /// its check without being timed. Nothing: none is worth it.
  std::optional<std::size_t> best() const;
  /// The newest; the parent if the agent has made none.
  const AgentCandidate& newest() const { return all_.back(); }
  std::size_t made() const { return all_.size() - 1; }

 private:
  std::optional<std::size_t> find(const std::string& label) const;
  std::size_t add(Candidate candidate, std::string base, std::string note);

  std::vector<AgentCandidate> all_;
};

}  // namespace kernelites
