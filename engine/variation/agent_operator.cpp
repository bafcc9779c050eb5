// SPDX-License-Identifier: Apache-2.0
// Replies to actions, actions to messages, within limits.
#include "engine/variation/agent_operator.h"

#include <fmt/format.h>

#include <algorithm>

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

bool has_failed(const AgentCandidate& one) {
  return one.done && *one.done != InsideStep::compile && !one.specimen.verdict.is_passed;
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
  if (is_closing_)
    request.output_tokens_max = std::min(request.output_tokens_max, static_cast<int>(k_agent_closing_tokens));
  request.tools = agent_tool_specs(library_, is_closing_);
  if (is_closing_) request.tool_choice = "submit";
  ++steps_used_;
  return CallModel{.request = std::move(request), .cuts = cuts_};
}

Action AgentOperator::on_reply(const ModelReply& reply) {
  tokens_used_ += reply.cost.tokens();
  if (!reply.failure.empty())
    return finish_with_best({"model_" + reply.failure, single_line(reply.message, k_diagnostic_bytes_max)});
  calls_ = reply.tool_calls;
  left_out_ = calls_.size() - std::min(calls_.size(), k_tool_calls_max);
  calls_.resize(calls_.size() - left_out_);
  messages_.push_back({.role = "assistant", .text = reply.text, .tool_calls = calls_});
  if (calls_.empty()) return on_text(reply.text);
  answers_.assign(calls_.size(), "");
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

/// Carries out the open tool calls until evaluations are needed; when all are answered, calls the model again.
Action AgentOperator::work() {
  for (; next_call_ < calls_.size(); ++next_call_) {
    auto outcome = perform(next_call_);
    if (auto* end = std::get_if<Action>(&outcome)) return std::move(*end);
    if (std::get<Progress>(outcome) == Progress::waits) break;
  }
  if (!pending_.empty()) return evaluate_pending();
  for (std::size_t i = 0; i < calls_.size(); ++i)
    messages_.push_back({.role = "tool",
                         .text = clipped(answers_[i], k_tool_result_bytes_max),
                         .tool_calls = {},
                         .tool_call_id = calls_[i].id});
  if (is_closing_)
    return finish_with_best({"agent_budget", "the agent's budget was used up without a submission"});
  if (left_out_ > 0)
    messages_.back().text += fmt::format("\n[{} more calls were not carried out: at most {} at a time]\n",
                                         left_out_, k_tool_calls_max);
  messages_.back().text += left();
  return call();
}

Action AgentOperator::evaluate_pending() const {
  EvaluateInside wanted;
  for (const Pending& pending : pending_) {
    const AgentCandidate& one = candidates_.at(pending.candidate);
    wanted.wishes.push_back({.candidate = one.candidate, .step = pending.step, .summary = one.note});
  }
  return wanted;
}

std::variant<AgentOperator::Progress, Action> AgentOperator::perform(std::size_t number) {
  const ToolCall& call = calls_[number];
  const AgentTool* tool = find_agent_tool(call.name);
  if (tool == nullptr)
    return answer(number, fmt::format("error: there is no tool \"{}\"", single_line(call.name, 40)));
  if (is_closing_ && tool->action != AgentAction::submit)
    return answer(number, "error: not carried out, only submit is left");
  const auto read = read_tool_arguments(*tool, call.arguments);
  if (const auto* rejection = std::get_if<Rejection>(&read))
    return answer(number, "error: " + rejection->message);
  const ToolArguments& arguments = std::get<ToolArguments>(read);
  const bool is_reading =
      tool->action == AgentAction::read_parent || tool->action == AgentAction::read_lineage ||
      tool->action == AgentAction::read_lessons || tool->action == AgentAction::read_playbook;
  if (is_reading) return answer(number, read_only_answer(tool->action, arguments));
  // What these two say depends on what is being evaluated.
  const bool is_late = tool->action == AgentAction::submit || tool->action == AgentAction::profile;
  if (is_late && !pending_.empty()) return Progress::waits;
  if (tool->action == AgentAction::submit && arguments.candidate == "none")
    return finish_with_best(
        {"agent_gave_up", arguments.note.empty() ? "the agent found nothing" : arguments.note});
  const auto resolved = candidates_.resolve(arguments);
  if (const auto* rejection = std::get_if<Rejection>(&resolved))
    return answer(number, fmt::format("error ({}): {}", rejection->reason, rejection->message));
  const std::size_t index = std::get<std::size_t>(resolved);
  if (tool->action == AgentAction::profile) return profile(number, index);
  if (tool->action == AgentAction::submit) return hand_in(number, index);
  return evaluate(number, tool->action, index);
}

/// A device with counters is asked for them; else the profile is what is known already.
AgentOperator::Progress AgentOperator::profile(std::size_t number, std::size_t index) {
  const AgentCandidate& one = candidates_.at(index);
  const bool can_count =
      !input_.device.is_virtual && one.done && *one.done < InsideStep::profile && !has_failed(one);
  if (can_count) return evaluate(number, AgentAction::profile, index);
  return answer(number, !one.done ? fmt::format("error: {} has not been compiled yet", one.label)
                                  : profile_text(input_.task, input_.device, one.specimen));
}

std::variant<AgentOperator::Progress, Action> AgentOperator::hand_in(std::size_t number, std::size_t index) {
  const AgentCandidate& one = candidates_.at(index);
  if (index == 0) return answer(number, "error: that is the parent unchanged");
  if (has_failed(one))
    return answer(number, fmt::format("error: {} failed; submit one that passed, or mend it", one.label));
  return submit(index, one.note);
}

AgentOperator::Progress AgentOperator::evaluate(std::size_t number, AgentAction action, std::size_t index) {
  for (const Pending& pending : pending_)
    if (pending.candidate == index) return Progress::waits;
  const AgentCandidate& one = candidates_.at(index);
  const InsideStep step = step_of(action);
  if (one.done && (*one.done >= step || has_failed(one)))
    return answer(number, step_text(input_.task, input_.device, one, *one.done, input_.parent.speedup));
  if (const std::string reached = limit_reached(!one.done); !reached.empty())
    return answer(number, fmt::format("error: not evaluated, {}; submit what you have", reached));
  pending_.push_back({.call = number, .candidate = index, .step = step});
  return Progress::pending;
}

Action AgentOperator::on_evaluated(const Evaluated& evaluated) {
  KERNELITES_ASSERT(evaluated.results.size() == pending_.size());
  for (std::size_t i = 0; i < pending_.size(); ++i)
    answer(pending_[i].call, told(pending_[i], evaluated.results[i]));
  pending_.clear();
  return work();
}

/// Notes the result at its candidate, and says it.
std::string AgentOperator::told(const Pending& pending, const InsideResult& result) {
  AgentCandidate& one = candidates_.at(pending.candidate);
  if (!result.refusal.empty())
    return fmt::format("error: {} was not evaluated: {}", one.label, result.refusal);
  evaluated_ += one.done ? 0 : 1;
  device_s_used_ += result.device_s;
  one.specimen = result.specimen;
  one.done = pending.step;
  std::string text;
  if (result.is_reused) {
    one.done = one.specimen.duel ? InsideStep::time : InsideStep::check;
    text = "(this kernel is known to the run already) ";
  }
  return text + step_text(input_.task, input_.device, one, *one.done, input_.parent.speedup);
}

Action AgentOperator::submit(std::size_t index, const std::string& note) const {
  const AgentCandidate& one = candidates_.at(index);
  return Submit{Proposal{.candidate = one.candidate, .summary = single_line(note, k_summary_bytes_max)}};
}

Action AgentOperator::finish_with_best(Rejection otherwise) const {
  if (const auto best = candidates_.best()) return submit(*best, candidates_.at(*best).note);
  return GiveUp{std::move(otherwise)};
}

AgentOperator::Progress AgentOperator::answer(std::size_t number, const std::string& text) {
  answers_[number] = text;
  return Progress::answered;
}

}  // namespace kernelites
