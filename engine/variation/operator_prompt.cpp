// SPDX-License-Identifier: Apache-2.0
// The sections of an operator's message, and where they go.
#include "engine/variation/operator_prompt.h"

#include <fmt/format.h>

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

}  // namespace

std::string architecture_family(const std::string& architecture) {
  std::size_t end = architecture.size();
  while (end > 0 && (architecture[end - 1] < '0' || architecture[end - 1] > '9')) --end;
  return architecture.substr(0, end);
}

std::vector<std::string> lesson_lines(const VariationInput& input, const PromptLibrary& library) {
  std::vector<std::string> lines;
  if (!input.lessons) return lines;
  for (const Lesson& lesson : input.lessons(
           {.task = input.task.name, .architecture = architecture_family(input.device.architecture)}))
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
  const std::string system = render_system(input, library);
  const std::string parent =
      library.render("parts/parent", specimen_values(input.task, input.device, input.parent));
  std::vector<PromptSection> sections{
      inspirations_of(input, library),
      failures_of(input, library),
      rejections_of(input),
      {.name = "lessons", .items = lesson_lines(input, library), .if_empty = "There are none yet.\n"}};
  const std::string& text = library.file("operators/" + name).text;
  OperatorPrompt prompt;
  prompt.cuts =
      trim_sections(sections, estimated_tokens(system) + estimated_tokens(parent) + estimated_tokens(text),
                    input.prompt_tokens_max);
  std::string feedback = section_text(sections[1]) + section_text(sections[2]);
  if (feedback.empty()) feedback = "Nothing has failed on this parent yet.\n";
  prompt.messages.push_back({.role = "system", .text = system});
  prompt.messages.push_back(
      {.role = "user",
       .text =
           library.render("operators/" + name, {{"parent", parent},
                                                {"inspirations", section_text(sections[0])},
                                                {"feedback", feedback},
                                                {"lessons", section_text(sections[3])},
                                                {"reply_format", library.render("parts/reply_format", {})},
                                                {"reply_edits", library.render("parts/reply_edits", {})}})});
  return prompt;
}

}  // namespace kernelites
