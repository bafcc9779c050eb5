// SPDX-License-Identifier: Apache-2.0
// The model's operator: one parent, two inspirations, what failed lately; a whole file or edits come back.
#include "engine/variation/refine_operator.h"

#include <fmt/format.h>

#include "engine/core/error.h"
#include "engine/variation/prompt_values.h"
#include "engine/variation/reply_parser.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

std::string render_inspirations(const VariationInput& input, const PromptLibrary& library) {
  std::string text;
  for (const Specimen& inspiration : input.inspirations) {
    PromptValues values = specimen_values(input.task, input.device, inspiration);
    values["source"] = clipped(values["source"], k_inspiration_bytes_max);
    text += library.render("parts/inspiration", values) + "\n";
  }
  return text.empty() ? "There are no elites of other kinds yet.\n" : text;
}

std::string render_feedback(const VariationInput& input, const PromptLibrary& library) {
  std::string text;
  for (const Specimen& failure : input.failures)
    text += library.render("parts/failure", failure_values(failure));
  for (const std::string& rejection : input.rejections)
    text += fmt::format("- A reply could not be used: {}\n", single_line(rejection, k_diagnostic_bytes_max));
  return text.empty() ? "Nothing has failed on this parent yet.\n" : text;
}

}  // namespace

std::string render_refine(const VariationInput& input, const PromptLibrary& library) {
  return library.render(
      "operators/refine",
      {{"contract", library.render("parts/contract", {})},
       {"task", library.render("parts/task", task_values(input.task))},
       {"device", library.render("parts/device", device_values(input.device))},
       {"parent", library.render("parts/parent", specimen_values(input.task, input.device, input.parent))},
       {"inspirations", render_inspirations(input, library)},
       {"feedback", render_feedback(input, library)},
       {"reply_format", library.render("parts/reply_format", {})}});
}

RefineOperator::RefineOperator(VariationInput input, const PromptLibrary& library)
    : input_(std::move(input)), library_(library) {}

Action RefineOperator::call() {
  ModelRequest request;
  request.messages = messages_;
  return CallModel{std::move(request)};
}

Action RefineOperator::next(const Observation& observation) {
  if (std::holds_alternative<Started>(observation)) {
    messages_ = {{"system", library_.render("system", {})}, {"user", render_refine(input_, library_)}};
    return call();
  }
  const auto* answered = std::get_if<ModelAnswered>(&observation);
  KERNELITES_ASSERT(answered != nullptr);
  const ModelReply& reply = answered->reply;
  if (!reply.failure.empty())
    return GiveUp{{"model_" + reply.failure, single_line(reply.message, k_diagnostic_bytes_max)}};

  auto parsed = parse_reply(reply.text, input_.parent.candidate);
  if (auto* proposal = std::get_if<Proposal>(&parsed)) return Submit{std::move(*proposal)};
  const Rejection& rejection = std::get<Rejection>(parsed);
  // A reply that is too long or no text is not worth a second one, and could not be quoted back.
  if (++replies_ >= k_replies_max || rejection.reason == "too_long" || rejection.reason == "not_utf8")
    return GiveUp{rejection};
  messages_.push_back({"assistant", reply.text});
  messages_.push_back({"user", fmt::format("That reply cannot be used: {}.\n\n{}", rejection.message,
                                           library_.render("parts/reply_format", {}))});
  return call();
}

}  // namespace kernelites
