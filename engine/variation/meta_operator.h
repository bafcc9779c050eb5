// SPDX-License-Identifier: Apache-2.0
// The operator that makes no kernel: a model rewrites the marked regions of another operator's prompt.
#pragma once

#include "engine/variation/operator.h"
#include "engine/variation/prompt_library.h"

namespace kernelites {

/// Asks with prompts/operators/meta.md; a reply that cannot be used goes back once with the reason. Ends with
/// SubmitPrompt or GiveUp. Borrows `library`: that of the studied version. REQUIRES: `input.study`, of an operator
/// whose prompt has regions.
class MetaOperator : public Operator {
 public:
  MetaOperator(VariationInput input, const PromptLibrary& library);
  Action next(const Observation& observation) override;

 private:
  CallModel call() const;
  Action read(const ModelReply& reply);

  VariationInput input_;
  const PromptLibrary& library_;
  std::vector<ChatMessage> messages_;
  bool is_corrected_ = false;
};

}  // namespace kernelites
