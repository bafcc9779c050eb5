// SPDX-License-Identifier: Apache-2.0
// Replies to actions, actions to messages, within limits.
#include "engine/variation/agent_operator.h"

#include <fmt/format.h>

#include "engine/core/error.h"
#include "engine/variation/operator_prompt.h"
#include "engine/variation/profile_text.h"
#include "engine/variation/prompt_values.h"
#include "engine/variation/reply_parser.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

InsideStep step_of(AgentAction action) {
  if (action == AgentAction::compile) return InsideStep::compile;
  if (action == AgentAction::profile) return InsideStep::profile;
  return action == AgentAction::check ? InsideStep::check : InsideStep::time;
}

}  // namespace

AgentOperator::AgentOperator(VariationInput input, const PromptLibrary& library)
    : input_(std::move(input)), library_(library), candidates_(input_.parent) {}

Action AgentOperator::next(const Observation& observation) {
  if (std::holds_alternative<Started>(observation)) {
    OperatorPrompt prompt = render_operator("agent", input_, library_);
    messages_ = std::move(prompt.messages);
    messages_.back().text += left();
    cuts_ = std::move(prompt.cuts);
    return call();
  }
  if (const auto* answered = std::get_if<ModelAnswered>(&observation)) return on_reply(answered->reply);
  return on_evaluated(std::get<Evaluated>(observation));
}

Action AgentOperator::call() {
  trim();
  if (must_close() && !is_closing_) {
    is_closing_ = true;
    messages_.push_back({.role = "user", .text = library_.render("exchange/agent_closing", {})});
  }
  ModelRequest request;
  request.messages = messages_;
  request.stable_messages = 2;  // of this episode; the first is the same for the whole run
  request.output_tokens_max = input_.output_tokens_max;
  request.tools = agent_tool_specs(library_, is_closing_);
  if (is_closing_) request.tool_choice = "submit";
  ++steps_used_;
  return CallModel{.request = std::move(request), .cuts = cuts_};
}

Action AgentOperator::on_reply(const ModelReply& reply) {
  tokens_used_ += reply.usage.input_tokens + reply.usage.output_tokens;
  if (!reply.failure.empty())
    return finish_with_best({"model_" + reply.failure, single_line(reply.message, k_diagnostic_bytes_max)});
  messages_.push_back({.role = "assistant", .text = reply.text, .tool_calls = reply.tool_calls});
  if (reply.tool_calls.empty()) return on_text(reply.text);
  calls_ = reply.tool_calls;
  next_call_ = 0;
  return work();
}

/// No tool was called: the text itself may be the answer; if not, the model is reminded once.
Action AgentOperator::on_text(const std::string& text) {
  auto parsed = parse_reply(text, candidates_.newest().candidate);
  if (auto* proposal = std::get_if<Proposal>(&parsed)) return Submit{std::move(*proposal)};
  if (is_closing_ || is_reminded_) return finish_with_best({"agent_stopped", "the agent called no tool"});
  is_reminded_ = true;
  messages_.push_back({.role = "user", .text = library_.render("exchange/agent_reminder", {}) + left()});
  return call();
}

/// Carries out the open tool calls until one needs the loop, then calls the model again.
Action AgentOperator::work() {
  while (next_call_ < calls_.size()) {
    const ToolCall& call = calls_[next_call_];
    if (next_call_ >= k_tool_calls_max) {
      answer(call, fmt::format("not carried out: at most {} calls at a time", k_tool_calls_max));
    } else if (auto action = perform(call)) {
      return std::move(*action);
    }
    ++next_call_;
  }
  if (is_closing_)
    return finish_with_best({"agent_budget", "the agent's budget was used up without a submission"});
  messages_.back().text += left();
  return this->call();
}

/// Nothing if the call is answered.
std::optional<Action> AgentOperator::perform(const ToolCall& call) {
  const AgentTool* tool = find_agent_tool(call.name);
  if (tool == nullptr) {
    answer(call, fmt::format("error: there is no tool \"{}\"", single_line(call.name, 40)));
    return std::nullopt;
  }
  const auto read = read_tool_arguments(*tool, call.arguments);
  if (const auto* rejection = std::get_if<Rejection>(&read)) {
    answer(call, "error: " + rejection->message);
    return std::nullopt;
  }
  const ToolArguments& arguments = std::get<ToolArguments>(read);
  const bool is_reading =
      tool->action == AgentAction::read_parent || tool->action == AgentAction::read_lineage ||
      tool->action == AgentAction::read_lessons || tool->action == AgentAction::read_playbook;
  if (is_reading) {
    answer(call, read_only_answer(tool->action, arguments));
    return std::nullopt;
  }
  if (tool->action == AgentAction::submit && arguments.candidate == "none")
    return finish_with_best(
        {"agent_gave_up", arguments.note.empty() ? "the agent found nothing" : arguments.note});
  const auto resolved = candidates_.resolve(arguments);
  if (const auto* rejection = std::get_if<Rejection>(&resolved)) {
    answer(call, fmt::format("error ({}): {}", rejection->reason, rejection->message));
    return std::nullopt;
  }
  return evaluate(call, tool->action, std::get<std::size_t>(resolved));
}

std::optional<Action> AgentOperator::evaluate(const ToolCall& call, AgentAction action, std::size_t index) {
  AgentCandidate& one = candidates_.at(index);
  const bool has_failed = one.done && *one.done != InsideStep::compile && !one.specimen.verdict.is_passed;
  // A device with counters is asked for them; else the profile is what is known already.
  const bool can_count =
      !input_.device.is_virtual && one.done && *one.done < InsideStep::profile && !has_failed;
  if (action == AgentAction::profile && !can_count) {
    answer(call, !one.done ? fmt::format("error: {} has not been compiled yet", one.label)
                           : profile_text(input_.task, input_.device, one.specimen));
    return std::nullopt;
  }
  if (action == AgentAction::submit) {
    if (index != 0 && !has_failed) return submit(index, one.note);
    answer(call, index == 0 ? "error: that is the parent unchanged"
                            : fmt::format("error: {} failed; submit one that passed, or mend it", one.label));
    return std::nullopt;
  }
  const InsideStep step = step_of(action);
  if (one.done && (*one.done >= step || has_failed)) {
    answer(call, step_text(input_.task, input_.device, one, *one.done, input_.parent.speedup));
    return std::nullopt;
  }
  if (const std::string reached = limit_reached(); !reached.empty()) {
    answer(call, fmt::format("error: not evaluated, {}; submit what you have", reached));
    return std::nullopt;
  }
  evaluating_ = index;
  step_ = step;
  return EvaluateInside{.candidate = one.candidate, .step = step, .summary = one.note};
}

Action AgentOperator::on_evaluated(const Evaluated& evaluated) {
  KERNELITES_ASSERT(next_call_ < calls_.size());
  AgentCandidate& one = candidates_.at(evaluating_);
  std::string text;
  if (!evaluated.refusal.empty()) {
    text = fmt::format("error: {} was not evaluated: {}", one.label, evaluated.refusal);
  } else {
    const bool is_first = !one.done.has_value();
    evaluated_ += is_first ? 1 : 0;
    device_s_used_ += evaluated.device_s;
    one.specimen = evaluated.specimen;
    one.done = step_;
    if (evaluated.is_reused) {
      one.done = one.specimen.duel ? InsideStep::time : InsideStep::check;
      text = "(this kernel is known to the run already) ";
    }
    text += step_text(input_.task, input_.device, one, *one.done, input_.parent.speedup);
  }
  answer(calls_[next_call_], std::move(text));
  ++next_call_;
  return work();
}

Action AgentOperator::submit(std::size_t index, const std::string& note) const {
  const AgentCandidate& one = candidates_.at(index);
  return Submit{Proposal{.candidate = one.candidate, .summary = single_line(note, k_summary_bytes_max)}};
}

Action AgentOperator::finish_with_best(Rejection otherwise) const {
  if (const auto best = candidates_.best()) return submit(*best, candidates_.at(*best).note);
  return GiveUp{std::move(otherwise)};
}

void AgentOperator::answer(const ToolCall& call, std::string text) {
  messages_.push_back({.role = "tool",
                       .text = clipped(text, k_tool_result_bytes_max),
                       .tool_calls = {},
                       .tool_call_id = call.id});
}

}  // namespace kernelites
