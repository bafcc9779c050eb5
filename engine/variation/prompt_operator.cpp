// SPDX-License-Identifier: Apache-2.0
// Prompt out, reply in, second chances by the exchange.
#include "engine/variation/prompt_operator.h"

#include "engine/core/error.h"
#include "engine/variation/json_reply.h"
#include "engine/variation/operator_prompt.h"

namespace kernelites {

PromptOperator::PromptOperator(std::string name, VariationInput input, const PromptLibrary& library)
    : name_(std::move(name)),
      input_(std::move(input)),
      library_(library),
      reply_(library.file("operators/" + name_).reply) {}

CallModel PromptOperator::call(std::vector<ChatMessage> messages) const {
  ModelRequest request;
  request.messages = std::move(messages);
  request.stable_messages = 1;
  request.output_tokens_max = input_.output_tokens_max;
  if (reply_ == ReplyFormat::json) request.answer_schema = json_reply_schema();
  return CallModel{.request = std::move(request), .cuts = cuts_};
}

Action PromptOperator::next(const Observation& observation) {
  if (std::holds_alternative<Started>(observation)) {
    OperatorPrompt prompt = render_operator(name_, input_, library_);
    cuts_ = prompt.cuts;
    exchange_.emplace(prompt.messages, input_.parent.candidate, library_.render("exchange/cut_off", {}));
    return call(std::move(prompt.messages));
  }
  const auto* answered = std::get_if<ModelAnswered>(&observation);
  KERNELITES_ASSERT(answered != nullptr && exchange_.has_value());
  const char* format = reply_ == ReplyFormat::edits ? "parts/reply_edits" : "parts/reply_format";
  auto step = exchange_->next(answered->reply, [&](const Rejection& rejection) {
    return library_.render("exchange/correction",
                           {{"reason", rejection.message}, {"reply_format", library_.render(format, {})}});
  });
  if (auto* again = std::get_if<ReplyExchange::CallAgain>(&step)) return call(std::move(again->messages));
  if (auto* proposal = std::get_if<Proposal>(&step)) return Submit{std::move(*proposal)};
  return GiveUp{std::get<Rejection>(std::move(step))};
}

}  // namespace kernelites
