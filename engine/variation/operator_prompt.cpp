// SPDX-License-Identifier: Apache-2.0
// The sections of an operator's message, and where they go.
#include "engine/variation/operator_prompt.h"

#include <fmt/format.h>

#include "engine/core/axes.h"
#include "engine/core/error.h"
#include "engine/variation/lesson_ranking.h"
#include "engine/variation/prompt_values.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

PromptSection inspirations_of(const VariationInput& input, const PromptLibrary& library) {
  PromptSection section{
      .name = "inspirations", .items = {}, .if_empty = "There are no elites of other kinds yet.\n"};
  for (const Specimen& inspiration : input.inspirations) {
    PromptValues values = specimen_values(input.task, input.device, inspiration);
    values["source"] = clipped(values["source"], k_inspiration_bytes_max);
    section.items.push_back(library.render("parts/inspiration", values) + "\n");
  }
  return section;
}

PromptSection failures_of(const VariationInput& input, const PromptLibrary& library) {
  PromptSection section{.name = "failures", .items = {}, .if_empty = ""};
  for (const Specimen& failure : input.failures)
    section.items.push_back(library.render("parts/failure", failure_values(failure)));
  return section;
}

PromptSection rejections_of(const VariationInput& input) {
  PromptSection section{.name = "rejections", .items = {}, .if_empty = ""};
  for (const std::string& rejection : input.rejections)
    section.items.push_back(
        fmt::format("- A reply could not be used: {}\n", single_line(rejection, k_diagnostic_bytes_max)));
  return section;
}

std::string specimen_text(const VariationInput& input, const PromptLibrary& library,
                          const Specimen& specimen) {
  return library.render("parts/parent", specimen_values(input.task, input.device, specimen));
}

std::string rival_of(const VariationInput& input, const PromptLibrary& library) {
  if (!input.second_parent) return "The parent itself is the fastest kernel there so far.\n";
  return specimen_text(input, library, *input.second_parent);
}

/// What is told while the run is under way; "" in most variations, whose prompts are then the same as without it.
std::string steering_text(const VariationInput& input, const PromptLibrary& library) {
  if (input.hints.empty()) return "";
  std::string lines;
  for (const std::string& hint : input.hints) lines += fmt::format("- {}\n", hint);
  return "\n" + library.render("parts/hints", {{"hints", lines}});
}

}  // namespace

std::string target_text(const VariationInput& input, const PromptLibrary& library) {
  std::string axes, rest = input.target_cell;
  while (!rest.empty()) {
    const std::string label = rest.substr(0, rest.find('/'));
    rest.erase(0, label.size() + 1);
    const Axis* found = axis_of_label(label);
    KERNELITES_ASSERT(found != nullptr);
    const Axis& axis = *found;
    const auto now = input.parent.examination.descriptors.find(std::string(axis.name));
    const bool is_kept = now != input.parent.examination.descriptors.end() && now->second == label;
    const std::string change =
        is_kept ? fmt::format("stays `{}`", label)
                : fmt::format("from `{}` to `{}`",
                              now == input.parent.examination.descriptors.end() ? "?" : now->second, label);
    const std::string name = label_prompt(axis.name, label);
    KERNELITES_ASSERT(library.has(name));
    std::string meaning = library.render(name, {});
    meaning.erase(meaning.find_last_not_of('\n') + 1);
    axes += library.render("parts/target_axis",
                           {{"axis", std::string(axis.name)}, {"change", change}, {"meaning", meaning}});
  }
  return library.render("parts/target", {{"axes", axes}});
}

std::string architecture_family(const std::string& architecture) {
  std::size_t end = architecture.size();
  while (end > 0 && (architecture[end - 1] < '0' || architecture[end - 1] > '9')) --end;
  return architecture.substr(0, end);
}

std::vector<std::string> lesson_lines(const VariationInput& input, const PromptLibrary& library) {
  std::vector<std::string> lines;
  if (!input.lessons) return lines;
  for (const Lesson& lesson : input.lessons(lesson_query(input)))
    lines.push_back(library.render("parts/lesson", lesson_values(lesson)));
  return lines;
}

std::string render_system(const VariationInput& input, const PromptLibrary& library) {
  return library.render("system", {{"contract", library.render("parts/contract", {})},
                                   {"task", library.render("parts/task", task_values(input.task))},
                                   {"device", library.render("parts/device", device_values(input.device))}});
}

OperatorPrompt render_operator(const std::string& name, const VariationInput& input,
                               const PromptLibrary& library) {
  const PromptFile& file = library.file("operators/" + name);
  const auto uses = [&](const char* placeholder) { return file.placeholders.contains(placeholder); };
  const std::string system = render_system(input, library);
  const std::string parent = specimen_text(input, library, input.parent);
  const std::string target = uses("target") ? target_text(input, library) : "";
  const std::string workload =
      uses("workload") ? library.render("parts/workload", workload_values(input)) : "";
  KERNELITES_ASSERT(!uses("second_parent") || input.second_parent.has_value());
  const std::string second = uses("second_parent") ? specimen_text(input, library, *input.second_parent) : "";
  const std::string rival = uses("rival") ? rival_of(input, library) : "";
  std::vector<PromptSection> sections{
      inspirations_of(input, library),
      failures_of(input, library),
      rejections_of(input),
      {.name = "lessons", .items = lesson_lines(input, library), .if_empty = "There are none yet.\n"}};
  std::int64_t fixed_tokens = 0;
  const std::string steering = steering_text(input, library);
  for (const std::string* text :
       {&system, &parent, &target, &workload, &second, &rival, &file.text, &steering})
    fixed_tokens += estimated_tokens(*text);
  OperatorPrompt prompt;
  prompt.cuts = trim_sections(sections, fixed_tokens, input.prompt_tokens_max);
  std::string feedback = section_text(sections[1]) + section_text(sections[2]);
  if (feedback.empty()) feedback = "Nothing has failed on this parent yet.\n";
  prompt.messages.push_back({.role = "system", .text = system});
  prompt.messages.push_back(
      {.role = "user",
       .text =
           library.render("operators/" + name, {{"parent", parent},
                                                {"second_parent", second},
                                                {"target", target},
                                                {"workload", workload},
                                                {"rival", rival},
                                                {"inspirations", section_text(sections[0])},
                                                {"feedback", feedback},
                                                {"lessons", section_text(sections[3])},
                                                {"reply_format", library.render("parts/reply_format", {})},
                                                {"reply_edits", library.render("parts/reply_edits", {})}}) +
           steering});
  return prompt;
}

}  // namespace kernelites
