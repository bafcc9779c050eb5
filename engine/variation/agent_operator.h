// SPDX-License-Identifier: Apache-2.0
// The agent: a model that compiles, checks, times and mends its kernels with tools before it hands one in.
//
// A state machine like every operator: it asks for a model call or an inner evaluation, and the loop acts. Between two
// calls it works through the tool calls of the last reply, in their order; what it can answer itself (the parent,
// lineage, lessons, playbook, profile) it answers at once. Every inner evaluation is a candidate of its own in the
// database. The episode ends with `submit`, or when a limit is reached: then the model has one more call, with no other
// tool, and if that does not submit either, the best kernel that it made goes in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/variation/agent_candidates.h"
#include "engine/variation/agent_tools.h"
#include "engine/variation/operator.h"
#include "engine/variation/prompt_library.h"

namespace kernelites {

/// Tool calls of one reply that are carried out; more are refused.
inline constexpr std::size_t k_tool_calls_max = 8;
/// Bytes of one tool's result.
inline constexpr std::size_t k_tool_result_bytes_max = 24 * 1024;

/// The closing call needs room for a short answer.
inline constexpr std::int64_t k_agent_closing_tokens = 2048;

class AgentOperator : public Operator {
 public:
  /// Borrows `library`, which must outlive it.
  AgentOperator(VariationInput input, const PromptLibrary& library);
  Action next(const Observation& observation) override;

 private:
  Action call();
  Action on_reply(const ModelReply& reply);
  Action on_text(const std::string& text);
  Action work();
  std::optional<Action> perform(const ToolCall& call);
  std::optional<Action> evaluate(const ToolCall& call, AgentAction action, std::size_t index);
  Action on_evaluated(const Evaluated& evaluated);
  Action submit(std::size_t index, const std::string& note) const;
  Action finish_with_best(Rejection otherwise) const;

  void answer(const ToolCall& call, std::string text);
  std::string read_only_answer(AgentAction action, const ToolArguments& arguments) const;
  std::string playbook(int tier) const;
  std::string lineage() const;
  std::string limit_reached() const;
  std::string left() const;
  bool must_close() const;
  void trim();

  VariationInput input_;
  const PromptLibrary& library_;
  AgentCandidates candidates_;
  std::vector<ChatMessage> messages_;
  std::vector<SectionCut> cuts_;
  std::vector<ToolCall> calls_;  // of the last reply
  std::size_t next_call_ = 0;
  std::size_t evaluating_ = 0;  // index of the candidate
  InsideStep step_ = InsideStep::compile;
  int steps_used_ = 0;
  int evaluated_ = 0;
  std::int64_t tokens_used_ = 0;
  double device_s_used_ = 0;
  bool is_closing_ = false;
  bool is_reminded_ = false;
};

/// The playbook's folders for an architecture, its own first, then those of older ones: "playbook/sm_90/".
std::vector<std::string> playbook_folders(const PromptLibrary& library, const std::string& family);

/// What an evaluated step tells the model: verdict and diagnostics, and with `time` the times.
std::string step_text(const Task& task, const DeviceFacts& device, const AgentCandidate& candidate,
                      InsideStep step, double parent_speedup);

}  // namespace kernelites
