// SPDX-License-Identifier: Apache-2.0
// The operator that makes no kernel: a model rewrites the marked regions of another operator's prompt.
#include "engine/variation/meta_operator.h"

#include <fmt/format.h>

#include "engine/core/error.h"
#include "engine/variation/operator_prompt.h"
#include "engine/variation/prompt_regions.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

constexpr std::size_t k_outcomes_max = 12, k_outcome_bytes_max = 300;

std::string figures_text(const PromptStudy& study) {
  std::string text;
  for (const PromptFigures& figures : study.figures) {
    const bool is_first = &figures == &study.figures.front();
    text +=
        fmt::format("- `{}`{}{}: {} kernels asked for, {} entered the archive, {:.3f} bits gained in all\n",
                    figures.version, is_first ? " (the original)" : "",
                    figures.version == study.version ? ", the one above" : "", figures.variations,
                    figures.elites, figures.gain_bits);
  }
  return text;
}

std::string outcomes_text(const PromptStudy& study) {
  std::string text;
  for (std::size_t i = 0; i < study.outcomes.size() && i < k_outcomes_max; ++i)
    text += fmt::format("- {}\n", single_line(study.outcomes[i], k_outcome_bytes_max));
  return text.empty() ? "Nothing is known yet.\n" : text;
}

}  // namespace

MetaOperator::MetaOperator(VariationInput input, const PromptLibrary& library)
    : input_(std::move(input)), library_(library) {
  KERNELITES_ASSERT(input_.study.has_value());
  const PromptFile& studied = library_.file("operators/" + input_.study->operator_name);
  KERNELITES_ASSERT(!regions_of(studied.pieces).empty());
  messages_.push_back({.role = "system", .text = render_system(input_, library_)});
  messages_.push_back(
      {.role = "user",
       .text = library_.render("operators/meta",
                               {{"studied_name", input_.study->operator_name},
                                {"studied_prompt", marked(studied.pieces)},
                                {"studied_versions", figures_text(*input_.study)},
                                {"studied_outcomes", outcomes_text(*input_.study)},
                                {"reply_regions", library_.render("parts/reply_regions", {})}})});
}

CallModel MetaOperator::call() const {
  ModelRequest request;
  request.messages = messages_;
  request.stable_messages = 1;
  request.output_tokens_max = input_.output_tokens_max;
  return CallModel{.request = std::move(request)};
}

Action MetaOperator::read(const ModelReply& reply) {
  if (!reply.failure.empty())
    return GiveUp{{"model_" + reply.failure, single_line(reply.message, k_outcome_bytes_max)}};
  const PromptFile& studied = library_.file("operators/" + input_.study->operator_name);
  auto regions = read_regions(reply.text, regions_of(studied.pieces));
  if (auto* accepted = std::get_if<PromptRegions>(&regions))
    return SubmitPrompt{input_.study->operator_name, std::move(*accepted)};
  const Rejection& rejection = std::get<Rejection>(regions);
  if (is_corrected_ || reply.text.empty() || !is_clean_utf8(reply.text) || rejection.reason == "too_long")
    return GiveUp{rejection};
  is_corrected_ = true;
  messages_.push_back({.role = "assistant", .text = reply.text});
  messages_.push_back(
      {.role = "user",
       .text = library_.render(
           "exchange/correction",
           {{"reason", rejection.message}, {"reply_format", library_.render("parts/reply_regions", {})}})});
  return call();
}

Action MetaOperator::next(const Observation& observation) {
  if (std::holds_alternative<Started>(observation)) return call();
  const auto* answered = std::get_if<ModelAnswered>(&observation);
  KERNELITES_ASSERT(answered != nullptr);
  return read(answered->reply);
}

}  // namespace kernelites
