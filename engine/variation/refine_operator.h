// SPDX-License-Identifier: Apache-2.0
// The model's operator: one parent, two inspirations, what failed lately; a whole file or edits come back.
#pragma once

#include "engine/variation/operator.h"
#include "engine/variation/prompt_library.h"

namespace kernelites {

/// Asks a model once; if the reply cannot be used, once more in the same conversation, saying why. Then gives
/// up. Borrows `library`, which must outlive it.
class RefineOperator : public Operator {
 public:
  RefineOperator(VariationInput input, const PromptLibrary& library);
  Action next(const Observation& observation) override;

 private:
  Action call();

  VariationInput input_;
  const PromptLibrary& library_;
  std::vector<ChatMessage> messages_;
  int replies_ = 0;
};

/// Replies that one variation may use up.
inline constexpr int k_replies_max = 2;

/// The whole user message of `refine`.
std::string render_refine(const VariationInput& input, const PromptLibrary& library);

}  // namespace kernelites
