// SPDX-License-Identifier: Apache-2.0
// The operators that are a prompt file: one parent goes out in words, a whole file or edits come back.
#pragma once

#include <optional>
#include <string>

#include "engine/variation/operator.h"
#include "engine/variation/prompt_library.h"
#include "engine/variation/reply_exchange.h"

namespace kernelites {

/// Asks a model with prompts/operators/<name>.md. A reply that is cut off is continued once, one that cannot be used
/// goes back once with the reason, in the same conversation. Then it gives up. Borrows `library`, which must outlive
/// it.
class PromptOperator : public Operator {
 public:
  PromptOperator(std::string name, VariationInput input, const PromptLibrary& library);
  Action next(const Observation& observation) override;

 private:
  CallModel call(std::vector<ChatMessage> messages) const;

  std::string name_;
  VariationInput input_;
  const PromptLibrary& library_;
  ReplyFormat reply_;
  std::vector<SectionCut> cuts_;
  std::optional<ReplyExchange> exchange_;
};

}  // namespace kernelites
