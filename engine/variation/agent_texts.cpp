// SPDX-License-Identifier: Apache-2.0
// What an agent reads: results of steps, the playbook, lineage, lessons, and what is left of its budget.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/variation/agent_operator.h"
#include "engine/variation/feedback_table.h"
#include "engine/variation/operator_prompt.h"
#include "engine/variation/profile_text.h"
#include "engine/variation/prompt_values.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

/// Tool results and arguments among the last messages stay whole.
constexpr std::size_t k_recent_messages = 6;
/// What trimming goes down to, so that the conversation's beginning changes seldom (it may be cached).
constexpr double k_trimmed_share = 0.6;

std::string ratio_line(const Specimen& specimen, double parent_speedup) {
  if (specimen.speedup <= 0) return "";
  std::string text = fmt::format("Speed: {:.3f}x the baseline's (weighted geometric mean)", specimen.speedup);
  if (specimen.over_parent)
    text += fmt::format(
        "; paired against the parent: {:.3f}x ({:.0f} % interval {:.3f} to {:.3f})",
        std::exp(-specimen.over_parent->log_ratio_median), 100 * specimen.over_parent->confidence,
        std::exp(-specimen.over_parent->log_ratio_high), std::exp(-specimen.over_parent->log_ratio_low));
  else if (parent_speedup > 0)
    text += fmt::format(", {:.3f}x the parent's{}", specimen.speedup / parent_speedup,
                        specimen.speedup > parent_speedup ? "" : ": not faster");
  return text + "\n";
}

/// The first line of a playbook file that is a heading, as its title.
std::string title_of(const std::string& text) {
  for (std::string_view line : split_lines(text))
    if (line.starts_with("# ")) return std::string(line.substr(2));
  return "";
}

}  // namespace

std::vector<std::string> playbook_folders(const PromptLibrary& library, const std::string& family) {
  std::set<std::string> folders;
  for (const std::string& name : library.names_under("playbook/")) {
    const std::string folder = name.substr(0, name.find('/', 9) + 1);
    const std::string own = folder.substr(9, folder.size() - 10);
    // "sm_80" < "sm_90" < "sm_100" by length, then by text.
    if (own.size() < family.size() || (own.size() == family.size() && own <= family)) folders.insert(folder);
  }
  return {folders.rbegin(), folders.rend()};
}

std::string step_text(const Task& task, const DeviceFacts& device, const AgentCandidate& candidate,
                      InsideStep step, double parent_speedup) {
  const Specimen& specimen = candidate.specimen;
  std::string text =
      fmt::format("{}{}: ", candidate.label, candidate.base.empty() ? "" : " (from " + candidate.base + ")");
  if (!specimen.verdict.is_passed) return text + describe_verdict(specimen.verdict);
  if (step == InsideStep::profile)
    return text + "passed every check\n" + profile_text(task, device, specimen);
  if (step == InsideStep::compile) return text + "compiles\n" + describe_resources(specimen.examination);
  text += "passed every check\n";
  text += fmt::format("Kind: {}\n", describe_cell(specimen.examination.descriptors));
  if (step == InsideStep::check) {
    text += describe_resources(specimen.examination);
    for (std::size_t i = 0; i < specimen.examination.notes.size() && i < k_diagnostics_max; ++i)
      text += fmt::format("Remark: {}\n", single_line(specimen.examination.notes[i], k_diagnostic_bytes_max));
    return text;
  }
  return text + describe_timing(task, device, specimen) + ratio_line(specimen, parent_speedup) +
         feedback_text(task, device, specimen);
}

std::string AgentOperator::read_only_answer(AgentAction action, const ToolArguments& arguments) const {
  if (action == AgentAction::read_parent)
    return library_.render("parts/parent", specimen_values(input_.task, input_.device, input_.parent));
  if (action == AgentAction::read_lineage) return lineage();
  if (action == AgentAction::read_playbook) return playbook(arguments.tier);
  std::string lessons;
  for (const std::string& line : lesson_lines(input_, library_)) lessons += line;
  return lessons.empty() ? "There are no lessons yet.\n" : lessons;
}

std::string AgentOperator::playbook(int tier) const {
  std::string text;
  const std::string family = architecture_family(input_.device.architecture);
  for (const std::string& folder : playbook_folders(library_, family)) {
    for (const std::string& name : library_.names_under(folder)) {
      const std::size_t digit = name.find('_', folder.size() + 1) + 1;
      if (digit == 0 || digit >= name.size()) continue;
      const int own = name[digit] - '0';
      const std::string& file = library_.file(name).text;
      if (tier == 0)
        text += fmt::format("tier {} ({}): {}\n", own, folder.substr(9, folder.size() - 10), title_of(file));
      if (tier == own) text += file + "\n";
    }
  }
  return text.empty() ? fmt::format("The playbook has no tier {} for {}.\n", tier, family) : text;
}

std::string AgentOperator::lineage() const {
  std::string text;
  for (const Ancestor& ancestor : input_.lineage) {
    text += fmt::format("generation {}, by {}: {}\n  {}; {}\n", ancestor.generation,
                        ancestor.specimen.operator_name,
                        ancestor.summary.empty() ? "(no summary)" : ancestor.summary,
                        describe_cell(ancestor.specimen.examination.descriptors),
                        ancestor.specimen.speedup > 0 ? fmt::format("{:.3f}x", ancestor.specimen.speedup)
                                                      : std::string("not timed"));
  }
  return text.empty() ? "The parent is a seed: it has no ancestors.\n" : text;
}

/// `is_new`: asked for a kernel that was not evaluated before.
std::string AgentOperator::limit_reached(bool is_new) const {
  const AgentLimits& limits = input_.agent;
  if (limits.device_s > 0 && device_s_used_ >= limits.device_s)
    return "the device time of this episode is used up";
  const auto coming = std::count_if(pending_.begin(), pending_.end(), [&](const Pending& pending) {
    return !candidates_.at(pending.candidate).done;
  });
  if (is_new && limits.candidates > 0 && evaluated_ + coming >= limits.candidates)
    return "the evaluations of this episode are used up";
  return "";
}

std::string AgentOperator::left() const {
  const AgentLimits& limits = input_.agent;
  std::string text = fmt::format("\n[left: {} of {} steps", limits.steps - steps_used_, limits.steps);
  if (limits.candidates > 0)
    text += fmt::format(", {} evaluations", std::max(0, limits.candidates - evaluated_));
  if (limits.tokens > 0)
    text +=
        fmt::format(", {} thousand tokens", std::max<std::int64_t>(0, limits.tokens - tokens_used_) / 1000);
  if (limits.device_s > 0)
    text += fmt::format(", {:.0f} s of device time", std::max(0.0, limits.device_s - device_s_used_));
  return text + "]\n";
}

/// True if the next call must be the last.
bool AgentOperator::must_close() const {
  const AgentLimits& limits = input_.agent;
  if (steps_used_ + 1 >= limits.steps) return true;
  if (limits.device_s > 0 && device_s_used_ >= limits.device_s) return true;
  if (limits.tokens <= 0) return false;
  ModelRequest request;
  request.messages = messages_;
  // This one with all that it may say, and a closing one, whose prompt has that in it.
  const std::int64_t next = estimated_tokens(request) + input_.output_tokens_max;
  return tokens_used_ + 2 * next + k_agent_closing_tokens >= limits.tokens;
}

/// Old results and arguments leave a conversation that has grown beyond the limit of prompts.
void AgentOperator::trim() {
  ModelRequest request;
  request.messages = messages_;
  if (estimated_tokens(request) <= input_.prompt_tokens_max) return;
  const auto goal =
      static_cast<std::int64_t>(k_trimmed_share * static_cast<double>(input_.prompt_tokens_max));
  SectionCut cut{.section = "tool_results"};
  for (std::size_t i = 2; i + k_recent_messages < messages_.size(); ++i) {
    request.messages = messages_;
    if (estimated_tokens(request) <= goal) break;
    ChatMessage& message = messages_[i];
    const auto leave_out = [&](std::string& text, std::string instead) {
      if (text.size() <= 2 * instead.size()) return;
      cut.items += 1;
      cut.bytes += text.size();
      text = std::move(instead);
    };
    if (message.role == "tool")
      leave_out(message.text, fmt::format("[left out: {} bytes]", message.text.size()));
    for (ToolCall& call : message.tool_calls)
      leave_out(call.arguments, fmt::format("{{\"left_out_bytes\":{}}}", call.arguments.size()));
  }
  if (cut.items > 0) cuts_.push_back(cut);
}

}  // namespace kernelites
