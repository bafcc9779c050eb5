// SPDX-License-Identifier: Apache-2.0
// The agent: a model that compiles, checks, times and mends its kernels with tools before it hands one in.
//
// A state machine like every operator: it asks for a model call or for inner evaluations, and the loop acts. Between
// two calls it works through the tool calls of the last reply, in their order; what it can answer itself (the parent,
// lineage, lessons, playbook, profile) it answers at once, and evaluations that do not depend on each other are under
// way together. Every inner evaluation is a candidate of its own in the database. The episode ends with `submit`, or
// when steps, tokens or device time are used up: then the model has one more call, with no other tool, and if that does
// not submit either, the best kernel that it made goes in.
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

/// Tool calls of one reply that are carried out; the conversation has no more.
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
  /// A tool call of the last reply that is not answered yet.
  struct Pending {
    std::size_t call = 0;       // index into calls_
    std::size_t candidate = 0;  // index into candidates_
    InsideStep step = InsideStep::compile;
  };
  enum class Progress {
    answered,
    pending,  // its evaluation goes into the next action
    waits     // for what is pending
  };

  Action call();
  Action on_reply(const ModelReply& reply);
  Action on_text(const std::string& text);
  Action work();
  Action evaluate_pending() const;
  std::variant<Progress, Action> perform(std::size_t number);
  Progress profile(std::size_t number, std::size_t index);
  std::variant<Progress, Action> hand_in(std::size_t number, std::size_t index);
  Progress evaluate(std::size_t number, AgentAction action, std::size_t index);
  Action on_evaluated(const Evaluated& evaluated);
  std::string told(const Pending& pending, const InsideResult& result);
  Action submit(std::size_t index, const std::string& note) const;
  Action finish_with_best(Rejection otherwise) const;

  Progress answer(std::size_t number, const std::string& text);
  std::string read_only_answer(AgentAction action, const ToolArguments& arguments) const;
  std::string playbook(int tier) const;
  std::string lineage() const;
  std::string limit_reached(bool is_new) const;
  std::string left() const;
  bool must_close() const;
  void trim();

  VariationInput input_;
  const PromptLibrary& library_;
  AgentCandidates candidates_;
  std::vector<ChatMessage> messages_;
  std::vector<SectionCut> cuts_;
  std::vector<ToolCall> calls_;       // of the last reply
  std::size_t left_out_ = 0;          // calls of it beyond the limit
  std::vector<std::string> answers_;  // to calls_
  std::size_t next_call_ = 0;
  std::vector<Pending> pending_;
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
